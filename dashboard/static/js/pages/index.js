// Views by the first word of the address.
import {home} from "./home.js";
import {orders} from "./orders.js";
import {cycles} from "./cycles.js";
import {cycle} from "./cycle.js";
import {decision, order} from "./story.js";
import {alerts} from "./alerts.js";
import {settings} from "./settings.js";

const PAGES = {home, orders, cycles, cycle, order, decision, alerts, settings};
export const of = (name) => PAGES[name];
