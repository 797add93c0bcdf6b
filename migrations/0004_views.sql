-- breaking: no
-- What people ask their queues. Everything here only reads.

-- When the batch that holds an offset was appended; null when it is not in the log.
create function sluice.appended_at(p_topic integer, p_partition integer, p_offset bigint) returns timestamptz
language plpgsql stable as $$
declare
  v_segment integer;
  v_appended_at timestamptz;
begin
  select s.segment into v_segment from sluice.segment_start s
  where s.topic = p_topic and s.partition = p_partition and s.start_offset <= p_offset order by s.segment desc limit 1;
  if not found then return null; end if;
  execute format('select appended_at from sluice_log.topic_%s_segment_%s where partition = $1 and base_offset <= $2
    order by base_offset desc limit 1', p_topic, v_segment) into v_appended_at using p_partition, p_offset;
  return v_appended_at;
end $$;
comment on function sluice.appended_at(integer, integer, bigint) is 'When a message was appended.';

create view sluice.topics as
select t.name, t.topic as number, t.partitions, t.encoding, t.compression,
  make_interval(secs => t.retention_ms / 1000.0) as retention_time, t.retention_bytes,
  (select count(*) from sluice.segment s where s.topic = t.topic) as segments,
  (select sum(pg_total_relation_size(format('sluice_log.topic_%s_segment_%s', s.topic, s.segment)::regclass))
    from sluice.segment s where s.topic = t.topic)::bigint as size_bytes,
  t.created_at
from sluice.topic t;
comment on view sluice.topics is 'Sluice: every topic, how it is kept and how much room it takes.';

create view sluice.partitions as
select t.name as topic, p.partition, sluice.start_offset(t.topic, p.partition) as start_offset,
  e.end_offset, e.end_offset as high_watermark,
  e.end_offset - sluice.start_offset(t.topic, p.partition) as messages
from sluice.topic t
cross join lateral generate_series(0, t.partitions - 1) as p(partition)
cross join lateral (select sluice.end_offset(t.topic, p.partition) as end_offset) e;
comment on view sluice.partitions is 'Sluice: where the log of each partition begins and ends.';
comment on column sluice.partitions.start_offset is 'The first offset that retention has left.';
comment on column sluice.partitions.end_offset is 'The offset that the next message will get (Kafka''s log end offset).';
comment on column sluice.partitions.high_watermark is 'Consumers read below this. A message sent with acks "all" is invisible until synchronous standbys have it, so what can be read is what survives a failover.';

create view sluice.members as
select m.member, m.name, exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1936487685 and l.objid = m.member::oid and l.objsubid = 2 and l.granted
      and l.database = (select oid from pg_database where datname = current_database())
  ) as live,
  array(select g.name || ' ← ' || t.name from sluice.subscription s
    join sluice.consumer_group g using ("group") join sluice.topic t using (topic)
    where s.member = m.member order by 1) as subscriptions,
  (select count(*) from sluice.position p where p.owner = m.member) as partitions,
  m.backend_pid, m.started_at, m.lease_until
from sluice.member m;
comment on view sluice.members is 'Sluice: the processes that consume. One with partitions = 0 is idle: there are more members than partitions.';
comment on column sluice.members.live is 'Whether its session is there. One that is not is removed by the next that looks.';

create view sluice.lag as
select g.name as "group", t.name as topic, p.partition,
  p.next_offset as committed_offset, e.end_offset,
  e.end_offset - p.next_offset - coalesce((select sum(upper(r) - lower(r)) from unnest(p.done_above) r), 0)::bigint as lag,
  case when p.next_offset < e.end_offset
    then clock_timestamp() - sluice.appended_at(t.topic, p.partition, p.next_offset) end as oldest_age,
  m.name as owner, p.epoch, p.committed_at
from sluice.position p
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.member m on m.member = p.owner
cross join lateral (select sluice.end_offset(p.topic, p.partition) as end_offset) e;
comment on view sluice.lag is 'Sluice: how far each group is in each partition, and who works on it.';
comment on column sluice.lag.committed_offset is 'Everything below is done.';
comment on column sluice.lag.lag is 'Messages not done yet, as of the last time the position was written.';
comment on column sluice.lag.oldest_age is 'How long the oldest message that is not done has been in the log; null when there is none.';
comment on column sluice.lag.owner is 'The member that handles the partition; null when nobody does.';

create view sluice.groups as
select l."group", l.topic, count(*) as partitions, count(l.owner) as owned_partitions,
  count(distinct l.owner) as working_members, sum(l.lag)::bigint as lag, max(l.oldest_age) as oldest_age, max(l.committed_at) as committed_at
from sluice.lag l group by l."group", l.topic;
comment on view sluice.groups is 'Sluice: each group''s lag over all partitions of a topic.';

create view sluice.dead_letters as
select d.dead_letter, g.name as "group", t.name as topic, d.partition, d."offset", d.id, d.key, d.value::json as value, d.headers,
  d."timestamp", d.reason, d.error, d.attempts, d.died_at
from sluice.dead_letter d
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic);
comment on view sluice.dead_letters is 'Sluice: what a group could not handle: the message, where it was, why and after how many attempts.';
comment on column sluice.dead_letters.reason is 'exhausted: its last attempt failed. schema: it does not fit the topic''s schema.';

create view sluice.leaders as
select d.name as duty, d.owner, d.epoch, d.since, exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1936487686 and l.objid = d.duty::oid and l.objsubid = 2 and l.granted
      and l.database = (select oid from pg_database where datname = current_database())
  ) as held
from sluice.duty d;
comment on view sluice.leaders is 'Sluice: which process does what one does for all: relay moves the outbox into the log, retention drops old segments.';
