-- breaking: no
-- Sending inside a transaction of the user's: a row here, moved into the log by the relay once that transaction has
-- committed. Nobody waits for it, and it holds no lock of a partition.

-- No foreign key to the topic: its check would lock the topic's row on behalf of every sender at once.
create table sluice.outbox (
  outbox bigint generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  topic integer not null,
  partition integer not null,
  key text,
  value text not null,
  attributes text,
  queued_at timestamptz not null default clock_timestamp(),
  constraint outbox_pkey primary key (xid, outbox),
  constraint outbox_key_size check (octet_length(key) <= 1024),
  constraint outbox_value_size check (octet_length(value) <= 1048576),
  constraint outbox_attributes_size check (octet_length(attributes) <= 32768),
  constraint outbox_attributes_form check (attributes like '{_%}')
);
comment on table sluice.outbox is 'Messages of transactions, on their way into the log. A row is here if and only if its message is not in the log.';
comment on column sluice.outbox.xid is 'The transaction that sent it. The relay looks for rows by transaction, not by what it has seen, so that none is missed that commits late.';

-- Writes messages of one topic to the outbox, in the caller's transaction. Used by the producers; SQL uses sluice.send.
-- messages: [{"partition": 0, "key": "k" or null, "value": …, "attributes": {…} or null}, …]; values keep their spelling.
-- ring: wake the relay when the transaction commits.
-- Returns the number of each, in order, separated by commas.
create function sluice.outbox_insert(p_topic integer, p_messages json, p_ring boolean) returns text language plpgsql as $$
declare
  v_numbers text;
begin
  with inserted as (
    insert into sluice.outbox (topic, partition, key, value, attributes)
    select p_topic, (m.message ->> 'partition')::integer, m.message ->> 'key', (m.message -> 'value')::text,
      nullif((m.message -> 'attributes')::text, 'null')
    from json_array_elements(p_messages) with ordinality as m(message, number)
    order by m.number
    returning outbox)
  select string_agg(outbox::text, ',' order by outbox) into v_numbers from inserted;
  if p_ring then perform pg_notify('sluice', 'outbox'); end if;
  return v_numbers;
end $$;
comment on function sluice.outbox_insert(integer, json, boolean) is 'Internal: writes messages to the outbox.';

-- Sends one message from SQL: from psql, a trigger, any language. It enters the log when the transaction commits, moved by
-- a running worker; until one runs it waits in sluice.outbox, safe. The value is not checked against the topic's
-- schema, which only the code knows: what does not fit goes to the dead letters of each group.
--
--   select sluice.send('signups', key => 'u1', value => '{"userId":"u1"}');
--
-- Returns the message's id. Fails when the topic does not exist (SQLSTATE 42704) or the value, key or headers are too large.
create function sluice.send(topic text, value json, key text default null, headers json default null, partition integer default null)
returns text language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer := send.partition;
  v_name text;
  v_header text;
  v_id text;
begin
  select * into v_topic from sluice.topic t where t.name = send.topic;
  if not found then
    raise exception 'sluice: there is no topic %', quote_literal(send.topic)
      using errcode = '42704', hint = 'select name from sluice.topics; or create it: select sluice.create_topic(''name'', partitions);';
  end if;
  if send.value is null then
    raise exception 'sluice: the value of a message must not be SQL null' using errcode = '22004', hint = 'Send the JSON null: ''null''.';
  end if;
  if v_topic.encoding = 'bytes' and json_typeof(send.value) <> 'string' then
    raise exception 'sluice: topic % holds bytes: the value must be a JSON string of base64', quote_literal(send.topic) using errcode = '22023';
  end if;
  -- A text that Postgres cannot show would make the topic's view fail for whoever reads past it.
  perform send.value::jsonb;
  if send.headers is not null then
    if json_typeof(send.headers) <> 'object' then
      raise exception 'sluice: headers must be a JSON object of strings' using errcode = '22023';
    end if;
    for v_name, v_header in select h.key, json_typeof(h.value) from json_each(send.headers) h loop
      if v_header <> 'string' then
        raise exception 'sluice: header % must be a string', quote_literal(v_name) using errcode = '22023';
      end if;
    end loop;
  end if;
  if v_partition is null then
    v_partition := coalesce(
      sluice.partition_of_key(send.key, v_topic.partitions), floor(random() * v_topic.partitions)::integer);
  elsif v_partition not between 0 and v_topic.partitions - 1 then
    raise exception 'sluice: topic % has partitions 0 to %, not %', quote_literal(send.topic), v_topic.partitions - 1, v_partition
      using errcode = '22023';
  end if;
  insert into sluice.outbox (topic, partition, key, value, attributes)
  values (v_topic.topic, v_partition, send.key, send.value::text,
    case when send.headers is not null then json_build_object('headers', send.headers)::text end)
  returning 'o-' || outbox into v_id;
  perform pg_notify('sluice', 'outbox');
  return v_id;
end $$;
comment on function sluice.send is 'Sends one message within your transaction: select sluice.send(''topic'', key => ''k'', value => ''{"a":1}'').';

-- Moves messages of committed transactions from the outbox into the log, in the order of their transactions: deleting
-- and appending in one transaction, so a message is in one of the two, always.
--
-- p_since is the snapshot of the last look, null for the first look of a term: the rows to look at are those of
-- transactions that began since, and of those that were under way then. A transaction held open for an hour costs
-- nothing, and rows that were deleted but cannot be vacuumed yet are not walked over again.
--
-- Returns how many were moved, which partitions of which topics got some (for the doorbell: 'topic partition …'), and the
-- snapshot for the next look: p_since again when p_limit cut this look short.
--
-- Locks: the duty's fence, shared; outbox rows; then appending, by topic and partition ascending.
create function sluice.relay(p_epoch bigint, p_since pg_snapshot, p_limit integer)
returns table (moved integer, rings text[], snapshot pg_snapshot) language plpgsql
-- The table is nearly always empty but may be bloated: never read it from end to end.
set enable_seqscan = off
as $$
declare
  v_now pg_snapshot;
  v_begun xid8 := coalesce(pg_snapshot_xmax(p_since), '0'::xid8);
  v_topic record;
begin
  perform sluice.assert_duty(1, p_epoch);
  v_now := pg_current_snapshot();
  moved := 0;
  rings := '{}';
  for v_topic in
    with picked as materialized (
      select c.xid, c.outbox from (
        select o.xid, o.outbox from sluice.outbox o
        where o.xid = any (array(select pg_snapshot_xip(p_since))) and pg_visible_in_snapshot(o.xid, v_now)
        union all
        (select o.xid, o.outbox from sluice.outbox o
        where o.xid >= v_begun and o.xid < pg_snapshot_xmax(v_now) and pg_visible_in_snapshot(o.xid, v_now)
        order by o.xid, o.outbox limit p_limit)
      ) c order by c.xid, c.outbox limit p_limit),
    gone as (
      delete from sluice.outbox o using picked p where o.xid = p.xid and o.outbox = p.outbox returning o.*),
    batch as (
      select g.topic, g.partition, count(*)::integer as count,
        case when count(g.key) > 0 then '[' || string_agg(coalesce(to_json(g.key)::text, 'null'), ',' order by g.xid, g.outbox) || ']' end as keys,
        '[' || string_agg(g.value, ',' order by g.xid, g.outbox) || ']' as records,
        -- The id that the sender was told goes along: into the attributes where there are some.
        '[' || string_agg(coalesce(left(g.attributes, -1) || ',', '{') || '"id":"o-' || g.outbox || '"}', ',' order by g.xid, g.outbox) || ']' as attributes
      from gone g group by g.topic, g.partition)
    select b.topic,
      sum(b.count)::integer as moved,
      array_agg(b.partition order by b.partition) as partitions,
      array_agg(b.count order by b.partition) as counts,
      string_agg(coalesce(b.keys, '[]'), repeat(E'\x1e', 32) order by b.partition) as keys,
      string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes
    from batch b group by b.topic order by b.topic
  loop
    execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, $6, null)', v_topic.topic)
      using v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes, current_setting('synchronous_commit');
    moved := moved + v_topic.moved;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  snapshot := case when moved < p_limit then v_now else p_since end;
  return next;
end $$;
comment on function sluice.relay is 'Internal: moves committed messages from the outbox into the log.';
