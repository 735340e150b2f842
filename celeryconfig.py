"""Celery's settings. The one module that reads the configuration when it is imported.

No setting alone keeps an order safe: the ledger does. These keep the work moving after a crash;
each figure has its measured reason beside it.
"""

from __future__ import annotations

from engine.config_source import load_settings
from engine.connections import redis_credentials, redis_url, without_credentials
from engine.settings import batch_processes

settings = load_settings()

broker_url = redis_url(settings)
result_backend = f"tasks.chord_backend:ChordBackend+{broker_url}"

# Late acknowledgement: with early ones the body of a chord never fired after a kill.
task_acks_late = True
task_reject_on_worker_lost = True
task_acks_on_failure = True
task_acks_on_timeout = True
# A slow batch must not hoard others.
worker_prefetch_multiplier = 1
worker_deduplicate_successful_tasks = False

# One value in all three places and in every process: the shortest wins.
visibility_timeout = settings.celery.visibility_timeout_s
_patience = {
    "visibility_timeout": visibility_timeout,
    # With the defaults a redelivery came 90 s later than the timeout.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
broker_transport_options = dict(_patience)
result_backend_transport_options = {"visibility_timeout": visibility_timeout}
redis_socket_connect_timeout = 2
redis_socket_keepalive = True
redis_backend_health_check_interval = 10
broker_connection_retry_on_startup = True
broker_pool_limit = 10

task_time_limit = settings.celery.time_limit_s
task_soft_time_limit = settings.celery.soft_time_limit_s
# The default gives up after 0.6 s: a Redis restart of 2 s cut every chain.
task_publish_retry = True
task_publish_retry_policy = {
    "max_retries": 60,
    "interval_start": 0.1,
    "interval_step": 0.2,
    "interval_max": 1.0,
}

# The results of a chord's header travel in the chord's own set; nothing else is needed.
task_ignore_result = True
task_store_errors_even_if_ignored = False
task_track_started = False
result_expires = settings.celery.result_expires_s

task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]
enable_utc = True
timezone = "UTC"

task_default_queue = "batch"
task_routes = {
    "cycle.*": {"queue": "cycle"},
    "batch.execute": {"queue": "execute"},
    "batch.*": {"queue": "batch"},
}
task_create_missing_queues = True

worker_concurrency = batch_processes(settings)
worker_max_memory_per_child = settings.workers.memory_limit_mb * 1024
worker_soft_shutdown_timeout = settings.celery.soft_shutdown_s
worker_enable_soft_shutdown_on_idle = False
worker_cancel_long_running_tasks_on_connection_loss = False
worker_send_task_events = settings.flower.enabled
task_send_sent_event = settings.flower.enabled
worker_hijack_root_logger = False
worker_redirect_stdouts = False

beat_scheduler = "tasks.beat:TickingScheduler"
beat_max_loop_interval = 1
redbeat_lock_timeout = 5
# Apart from the address: Celery masks a password by its name, in what it tells of its settings.
redbeat_redis_url = without_credentials(broker_url)
redbeat_redis_options = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    **redis_credentials(broker_url),
}
redbeat_key_prefix = "trading-engine:beat:"

imports = ("tasks.cycle", "tasks.batch", "tasks.upkeep", "tasks.schedule", "tasks.heartbeat")
