// Where Flower lists the tasks of a cycle, or nothing where there is no Flower.
import {h} from "../dom.js";
import {load, store} from "../store.js";

// Flower's page takes a search from its address only as a task's name; none is named like a
// cycle, so that the other half of the search finds.
export const tasksOf = async (cycleId) => {
  if (!store.status) await load("status");
  const url = store.status?.flower_url;
  const search = encodeURIComponent(`${cycleId} OR ${cycleId}`);
  return url ? h("a", {href: `${url}tasks?name=${search}`, target: "_blank", rel: "noopener"}, "tasks of the cycle ↗") : null;
};
