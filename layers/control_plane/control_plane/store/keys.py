"""Every key of the table, in one place.

    pk                                sk                     item
    CLUSTERS#<0-3>                    <cluster>              cluster
    FLEET#<cluster>#<0-63>            I#<instance>           container instance: what placement and presence need
                                      R#<instance>           its registration: the rest
                                      O#<instance>#<task>    orphan: it runs there, and nobody here knows of it
                                      T#<tail>#<task>        task that has not stopped; tail: its id's last 8 digits,
                                                             which are its instance's first 8
                                      S#<tail>#<task>        task that has stopped, kept for 30 days
    CHANGES#<cluster>#<0-1>           <time>#<record>        instances of a large cluster that changed then; two days
    SNAPSHOT#<cluster>                NEWEST, <id>#<part>    all of its instances, for functions that begin; two days
    ENDS#<cluster>#<0-15>             <time>#<task>          a task may have stopped then; for an hour, for ListTasks
    REMINDERS#<0-15>                  <time>#<whom>          look at a container instance or a service then
    IDENTITY#<instance>               IDENTITY               which cluster and certificate a machine was given
    CAPABILITIES#<digest>             CAPABILITIES           a set of capability attributes
    FAMILIES#<0-3>                    <family>               newest revision number of a family
    TASKDEF#<family>                  <revision, 10 digits>  task definition
    SERVICES#<cluster>#<0-7>          <service>              service
    SERVICE#<cluster>#<name>#TASKS#n  <task>                 a task is on the service's list
                                      <instance>             what a DAEMON service has on the instance
    SERVICE#<cluster>#<name>#EVENTS   <time>#<id>            service event, kept for 30 days
    SERVICE#<c>#<name>#DEPLOYMENTS    <revision>             service deployment and its revision, kept for 90 days
    WAITING#<cluster>#<0-3>           <time>#S#<service>     a service that waits for capacity since then, or
                                      …#<task set>           one of its task sets
                                      <time>#E#<event>       a `Run Task` event that does
    WAITING#<cluster>                 NOTE                   somebody may wait there, until then
    EVENT#<event>                     EVENT                  a `Run Task` event that waits, itself
    TOKEN#<operation>#<cluster>#<t>   TOKEN                  what the request with client token t was answered
    SETTINGS#<principal>              <name>                 account setting
    ACTIVATION#<id>                   ACTIVATION             activation
                                      CSR#<digest>           one identity that it gave out
    ACTIVATIONS#<0-3>                 <id>                   there is this activation
    FAILURES#<source or activation>   FAILURES               registrations with a wrong code, counted for ten minutes
    KEYS#<0-3>                        <access key id>        access key; its secret is nowhere
    POLICIES#<0-3>                    <principal>#<name>     policy
    PROVIDERS#<0-3>                   <capacity provider>    capacity provider of one's own

Times are epoch seconds in 12 digits, so that their order is that of the keys; of who waits, milliseconds in 15. There
is no index: each would cost one more write for each write, at twice the price in a transaction.

Why a task's id ends in its instance's first digits: so that the task, its instance and its instance's other tasks
share a partition key, can be found by the task's id alone, and can be listed strongly consistent by instance.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

INSTANCE_SHARDS = 64
LISTING_SHARDS = 16
SERVICE_SHARDS = 8
CLUSTER_SHARDS = 4
WAITING_SHARDS = 4
CHANGES_SHARDS = 2
TAIL = 8


@dataclass(frozen=True)
class Key:
    pk: str
    sk: str


def _shard(name: str, count: int) -> int:
    return zlib.crc32(name.encode()) % count


def cluster(name: str) -> Key:
    return Key(f"CLUSTERS#{_shard(name, CLUSTER_SHARDS)}", name)


def cluster_partitions() -> list[str]:
    return [f"CLUSTERS#{shard}" for shard in range(CLUSTER_SHARDS)]


def task_id_on(instance_id: str, random_id: str) -> str:
    """A task's id: 24 digits of its own and the first 8 of its instance."""
    return random_id[: 32 - TAIL] + instance_id[:TAIL]


def instance_shard(instance_id: str) -> int:
    return int(instance_id[:TAIL], 16) % INSTANCE_SHARDS


def instance_partition(cluster_name: str, shard: int) -> str:
    return f"FLEET#{cluster_name}#{shard}"


def instance(cluster_name: str, instance_id: str) -> Key:
    return Key(instance_partition(cluster_name, instance_shard(instance_id)), f"I#{instance_id}")


def registration(cluster_name: str, instance_id: str) -> Key:
    return Key(instance_partition(cluster_name, instance_shard(instance_id)), f"R#{instance_id}")


def orphan(cluster_name: str, instance_id: str, task_id: str) -> Key:
    return Key(instance_partition(cluster_name, instance_shard(instance_id)), f"O#{instance_id}#{task_id}")


def instance_orphans(cluster_name: str, instance_id: str) -> Key:
    """`sk` is the beginning of their keys."""
    return orphan(cluster_name, instance_id, "")


def task(cluster_name: str, task_id: str) -> Key:
    tail = task_id[-TAIL:]
    return Key(instance_partition(cluster_name, instance_shard(tail)), f"T#{tail}#{task_id}")


def instance_tasks(cluster_name: str, instance_id: str) -> Key:
    """`sk` is the beginning of the keys of an instance's tasks; another instance may share it, once in 4 billion."""
    return tasks_with_tail(cluster_name, instance_id[:TAIL])


def task_of(sk: str) -> str:
    """The task that a key `sk` names: of the task itself, of its end, or of its line on a service's list."""
    return sk.rpartition("#")[2]


def tasks_with_tail(cluster_name: str, tail: str) -> Key:
    """`sk` is the beginning of the keys of the tasks whose ids end so: those of an instance."""
    return Key(instance_partition(cluster_name, instance_shard(tail)), f"T#{tail}#")


def stopped_task(cluster_name: str, task_id: str) -> Key:
    """In the same partition, so that what a transaction changes comes in one batch of the table's stream."""
    tail = task_id[-TAIL:]
    return Key(instance_partition(cluster_name, instance_shard(tail)), f"S#{tail}#{task_id}")


def time_key(seconds: int) -> str:
    return f"{seconds:012d}"


def end(cluster_name: str, task_id: str, seconds: int) -> Key:
    return Key(f"ENDS#{cluster_name}#{_shard(task_id, LISTING_SHARDS)}", f"{time_key(seconds)}#{task_id}")


def end_partitions(cluster_name: str) -> list[str]:
    return [f"ENDS#{cluster_name}#{shard}" for shard in range(LISTING_SHARDS)]


def reminder(seconds: int, kind: str, cluster_name: str, name: str) -> Key:
    shard = _shard(f"{cluster_name}#{name}", LISTING_SHARDS)
    return Key(f"REMINDERS#{shard}", f"{time_key(seconds)}#{kind}#{cluster_name}#{name}")


def reminder_partitions() -> list[str]:
    return [f"REMINDERS#{shard}" for shard in range(LISTING_SHARDS)]


def identity(instance_id: str) -> Key:
    return Key(f"IDENTITY#{instance_id}", "IDENTITY")


def capabilities(digest: str) -> Key:
    return Key(f"CAPABILITIES#{digest}", "CAPABILITIES")


def family(name: str) -> Key:
    return Key(f"FAMILIES#{_shard(name, CLUSTER_SHARDS)}", name)


def family_partitions() -> list[str]:
    return [f"FAMILIES#{shard}" for shard in range(CLUSTER_SHARDS)]


def task_definition(family_name: str, revision: int) -> Key:
    return Key(f"TASKDEF#{family_name}", f"{revision:010d}")


def service(cluster_name: str, name: str) -> Key:
    return Key(f"SERVICES#{cluster_name}#{_shard(name, SERVICE_SHARDS)}", name)


def service_partitions(cluster_name: str) -> list[str]:
    return [f"SERVICES#{cluster_name}#{shard}" for shard in range(SERVICE_SHARDS)]


def service_task(cluster_name: str, service_name: str, shards: int, task_id: str) -> Key:
    return Key(f"SERVICE#{cluster_name}#{service_name}#TASKS#{_shard(task_id, shards)}", task_id)


def service_task_partitions(cluster_name: str, service_name: str, shards: int) -> list[str]:
    return [f"SERVICE#{cluster_name}#{service_name}#TASKS#{shard}" for shard in range(shards)]


def service_event(cluster_name: str, service_name: str, created_at: datetime, event_id: str) -> Key:
    return Key(service_events_partition(cluster_name, service_name), f"{created_at.isoformat()}#{event_id}")


def service_events_partition(cluster_name: str, service_name: str) -> str:
    return f"SERVICE#{cluster_name}#{service_name}#EVENTS"


def _milliseconds(at: datetime) -> str:
    """As exact as the table is."""
    return f"{(at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1):015d}"


def changes(cluster_name: str, at: datetime, name: str) -> Key:
    return Key(f"CHANGES#{cluster_name}#{_shard(name, CHANGES_SHARDS)}", f"{_milliseconds(at)}#{name}")


def changes_since(cluster_name: str, at: datetime) -> list[Key]:
    """The first keys that come in question in each partition."""
    return [Key(f"CHANGES#{cluster_name}#{shard}", _milliseconds(at)) for shard in range(CHANGES_SHARDS)]


def snapshot(cluster_name: str) -> Key:
    return Key(f"SNAPSHOT#{cluster_name}", "NEWEST")


def snapshot_part(cluster_name: str, snapshot_id: str, part: int) -> Key:
    return Key(f"SNAPSHOT#{cluster_name}", f"{snapshot_id}#{part:02d}")


def waiting(cluster_name: str, since: datetime, name: str) -> Key:
    return Key(f"WAITING#{cluster_name}#{_shard(name, WAITING_SHARDS)}", f"{_milliseconds(since)}#{name}")


def waiting_partitions(cluster_name: str) -> list[str]:
    return [f"WAITING#{cluster_name}#{shard}" for shard in range(WAITING_SHARDS)]


def waiting_note(cluster_name: str) -> Key:
    return Key(f"WAITING#{cluster_name}", "NOTE")


def waiting_event(request_id: str) -> Key:
    return Key(f"EVENT#{request_id}", "EVENT")


def service_deployment(cluster_name: str, service_name: str, revision_id: str) -> Key:
    return Key(service_deployments_partition(cluster_name, service_name), revision_id)


def service_deployments_partition(cluster_name: str, service_name: str) -> str:
    return f"SERVICE#{cluster_name}#{service_name}#DEPLOYMENTS"


def token(operation: str, cluster_name: str, client_token: str) -> Key:
    return Key(f"TOKEN#{operation}#{cluster_name}#{client_token}", "TOKEN")


def account_setting(principal: str, name: str) -> Key:
    return Key(account_settings_partition(principal), name)


def account_settings_partition(principal: str) -> str:
    return f"SETTINGS#{principal}"


def activation(activation_id: str) -> Key:
    return Key(f"ACTIVATION#{activation_id}", "ACTIVATION")


def activation_use(activation_id: str, csr_digest: str) -> Key:
    return Key(f"ACTIVATION#{activation_id}", f"CSR#{csr_digest}")


def listed_activation(activation_id: str) -> Key:
    return Key(f"ACTIVATIONS#{_shard(activation_id, CLUSTER_SHARDS)}", activation_id)


def activation_partitions() -> list[str]:
    return [f"ACTIVATIONS#{shard}" for shard in range(CLUSTER_SHARDS)]


def failures(of: str, name: str) -> Key:
    return Key(f"FAILURES#{of}#{name}", "FAILURES")


def access_key(access_key_id: str) -> Key:
    return Key(f"KEYS#{_shard(access_key_id, CLUSTER_SHARDS)}", access_key_id)


def access_key_partitions() -> list[str]:
    return [f"KEYS#{shard}" for shard in range(CLUSTER_SHARDS)]


def policy(principal: str, name: str) -> Key:
    """Neither has a `#` in it."""
    return Key(f"POLICIES#{_shard(principal, CLUSTER_SHARDS)}", f"{principal}#{name}")


def policy_partitions() -> list[str]:
    return [f"POLICIES#{shard}" for shard in range(CLUSTER_SHARDS)]


def capacity_provider(name: str) -> Key:
    return Key(f"PROVIDERS#{_shard(name, CLUSTER_SHARDS)}", name)


def capacity_provider_partitions() -> list[str]:
    return [f"PROVIDERS#{shard}" for shard in range(CLUSTER_SHARDS)]
