-- breaking: no
-- What differed between the modes of delivery without a reason: letting go at a rate, and how long messages that failed live.

-- Letting go at a rate ------------------------------------------------------------------------------------------------

-- As before, and shared groups can be let go at a rate, too: their positions say when it is worked off.
-- Locks: rows of sluice.pause and sluice.release.
create or replace function sluice.release_group(
  "group" text, messages integer, per interval, topic text default null, until timestamptz default null
) returns integer language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(release_group."group");
  v_topic integer := case when release_group.topic is not null then sluice.topic_number(release_group.topic) end;
  v_ended integer;
begin
  if not exists (
    select from sluice.group_topic t where t."group" = v_group and t.mode <> 'broadcast' and (v_topic is null or t.topic = v_topic)
  ) then
    raise exception 'sluice: group % works on no such topic but as a broadcast, whose members keep their places to themselves; nothing was changed',
      release_group."group" using errcode = 'SL031', hint = 'Without a rate it can be resumed.';
  end if;
  delete from sluice.pause s where s."group" = v_group and (v_topic is null or s.topic = v_topic);
  get diagnostics v_ended = row_count;
  insert into sluice.release as r ("group", topic, messages, per_ms, ends, released_by, until)
  select v_group, t.topic, release_group.messages, extract(epoch from release_group.per) * 1000,
    array(select sluice.end_offset(t.topic, n) from generate_series(0, t.partitions - 1) n order by n), sluice.actor(), release_group.until
  from sluice.group_topic gt join sluice.topic t using (topic)
  where gt."group" = v_group and gt.mode <> 'broadcast' and (v_topic is null or gt.topic = v_topic)
  on conflict ("group", topic) do update set messages = excluded.messages, per_ms = excluded.per_ms, ends = excluded.ends,
    released_at = excluded.released_at, released_by = excluded.released_by, until = excluded.until;
  perform sluice.write_audit('release', format('group %s', release_group."group"),
    json_build_object('topic', release_group.topic, 'ended', v_ended, 'messages', release_group.messages, 'per', release_group.per,
      'until', release_group.until));
  perform pg_notify('sluice', 'group ' || v_group);
  return v_ended;
end $$;

-- Sending once, with a priority -----------------------------------------------------------------------------------------

-- What was compiled against the function as it was (a view, a function in SQL's own form) goes on with it under another name; whoever calls
-- it by name gets the new one, which takes the same arguments.
do $$ begin
  drop function sluice.send_once(text, text, json, text, json, integer);
exception when dependent_objects_still_exist then
  alter function sluice.send_once(text, text, json, text, json, integer) rename to send_once_as_before;
  create or replace function sluice.send_once_as_before(
    topic text, message_id text, value json, key text default null, headers json default null, partition integer default null
  ) returns text language plpgsql as $before$
  begin
    return sluice.send_once($1, $2, $3, $4, $5, $6);
  end $before$;
  comment on function sluice.send_once_as_before is 'What was compiled against sluice.send_once before it took a priority calls this.';
end $$;

-- Sends one message within your transaction, unless its message id was sent to the topic within the topic's window: what
-- enters the log when the transaction commits is decided then, so the answer is the message's id in any case.
--
--   select sluice.send_once('orders', message_id => 'order-7', value => '{"order":7}');
--   select sluice.send_once('orders', message_id => 'order-7', value => '{"order":7}', priority => 2);
--
-- Fails as sluice.send does, and when the topic does not deduplicate (SQLSTATE 22023).
create function sluice.send_once(
  topic text, message_id text, value json, key text default null, headers json default null, partition integer default null,
  priority integer default 0
) returns text language plpgsql as $$
declare
  v_id text;
begin
  if not exists (
    select from sluice.topic t join sluice.guard g using (topic) where t.name = send_once.topic and g.deduplicate_ms is not null
  ) and exists (select from sluice.topic t where t.name = send_once.topic) then
    raise exception 'sluice: topic % does not deduplicate', quote_literal(send_once.topic)
      using errcode = '22023', hint = 'select sluice.guard_topic(''name'', deduplicate_ms => 300000);';
  end if;
  if message_id is null or length(message_id) not between 1 and 128 then
    raise exception 'sluice: a message id has 1 to 128 characters' using errcode = '22023';
  end if;
  v_id := sluice.send(topic => send_once.topic, value => send_once.value, key => send_once.key,
    headers => send_once.headers, partition => send_once.partition, priority => send_once.priority);
  update sluice.outbox o set
    attributes = coalesce(left(o.attributes, -1) || ',', '{') || '"messageId":' || to_json(send_once.message_id)::text || '}'
  where o.xid = pg_current_xact_id() and o.outbox = substr(v_id, 3)::bigint;
  return v_id;
end $$;
comment on function sluice.send_once is 'Sends one message within your transaction unless its message id was sent within the topic''s window.';

-- Hours of who lives --------------------------------------------------------------------------------------------------

create or replace view sluice.hours as
select h.member, m.name, g.name as "group", t.name as topic, h."window", h.open, h.concurrency, h.rate, h.since, h.until
from sluice.hours_in_force h
join sluice.member m using (member)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
where h.member in (select sluice.live_members());

-- Time to live --------------------------------------------------------------------------------------------------------
--
-- One rule in every mode: a message expires its time to live after it entered the log, and that is looked at before each attempt. So what
-- waits beside the log for its next attempt has to know when it entered and how long it lives.

alter table sluice.retry
  add column appended_at timestamptz,
  add column time_to_live_ms bigint,
  add constraint retry_time_to_live_range check (time_to_live_ms > 0);
comment on column sluice.retry.appended_at is 'When it entered the log; null when a process of an earlier version put it off: it lives as if it had when it failed.';
comment on column sluice.retry.time_to_live_ms is 'Its own time to live; null: the topic''s, if that has one.';

-- As before, and with "appended_ms" (since 1970) and "time_to_live_ms" (null: its topic's) of each message.
-- Locks: the fences of the positions, shared, ascending; then rows of retries and done markers.
create or replace function sluice.put_off_all(p_positions integer[], p_messages json) returns table (number integer, outcome text) language plpgsql
-- By primary keys, whatever the statistics say: the tables are nearly always empty but may be bloated.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with failed as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due
      from json_to_recordset(p_messages) as m(
        number integer, position integer, epoch bigint, "offset" bigint, first boolean, attempt integer, delay_ms double precision,
        blocks text, id text, key text, value text, headers json, timestamp_ms double precision, error text,
        appended_ms double precision, time_to_live_ms bigint)
      where m.position = any (p_positions)
        and exists (select from sluice.position p where p.position = m.position and p.epoch = m.epoch)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from failed f where r.position = f.position and r."offset" = f."offset"
      returning r.position, r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select f.position, f."offset" from failed f
      where f.first and not exists (select from sluice.retry r where r.position = f.position and r."offset" = f."offset")
      order by f.position, f."offset" on conflict do nothing
      returning position, "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error, appended_at, time_to_live_ms)
      select f.position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error,
        to_timestamp(f.appended_ms / 1000), f.time_to_live_ms
      from failed f join marked m using (position, "offset")
      returning position, "offset")
    select f.number, case when a."offset" is null and d."offset" is null then 'already' else 'put off' end
    from failed f left join again a using (position, "offset") left join added d using (position, "offset");
end $$;

-- As before, and when each entered the log and how long it lives.
-- Locks: the fences of the positions, shared, ascending; then the rows.
drop function sluice.begin_all_retries(integer[], bigint[], bigint[]);
create function sluice.begin_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[])
returns table (number integer, epoch_holds boolean, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision, error text,
  appended_ms double precision, time_to_live_ms double precision)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select a.number::integer, a.position, a."offset",
        exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch) as epoch_holds
      from unnest(p_positions, p_epochs, p_offsets) with ordinality as a(position, epoch, "offset", number)),
    begun as (
      update sluice.retry r set attempt = r.attempt + 1, due = null
      from asked a where a.epoch_holds and r.position = a.position and r."offset" = a."offset"
      returning a.number, r.*)
    select a.number, a.epoch_holds, b.attempt, b.id, b.key, b.value, b.headers::text,
      (extract(epoch from b."timestamp") * 1000)::double precision, b.error,
      (extract(epoch from coalesce(b.appended_at, b.failed_at)) * 1000)::double precision, b.time_to_live_ms::double precision
    from asked a left join begun b using (number)
    where not a.epoch_holds or b.number is not null;
end $$;
comment on function sluice.begin_all_retries(integer[], bigint[], bigint[]) is 'Internal: counts attempts before they are made.';
