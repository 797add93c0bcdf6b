-- breaking: no
-- Stages, which consume, produce and commit their position in one transaction, and half messages, which are decided on later.

-- Appends within the caller's transaction, for a stage: the last thing it does before it marks what it has done. No
-- producer and no sequence: the marks make the whole happen once. The other parameters are those of
-- sluice_log.append_<topic>.
-- Locks: appending, per partition in ascending order, until the end of the transaction. So the caller goes through its topics
-- in ascending order, takes no lock of a lower class afterwards, and commits at once.
create function sluice.append_within(
  p_topic integer, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text, p_ring text
) returns bigint[] language plpgsql as $$
declare
  v_firsts bigint[];
begin
  execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, ''on'', $6)', p_topic) into v_firsts
    using p_partitions, p_counts, p_keys, p_records, p_attributes, p_ring;
  return v_firsts;
end $$;
comment on function sluice.append_within is 'Internal: appends within a stage''s transaction.';

-- As sluice.mark_done for many messages of one position: all of them are done if and only if the transaction commits.
-- Returns those that were done before; null when the position has another owner. Other than after an empty array, the
-- caller rolls back.
-- Locks: the fence of the position, shared, until the transaction ends: a takeover waits for it. The keys of sluice.done are
-- inserted in ascending order, as they may have to wait for an earlier try of the same messages.
create function sluice.mark_all_done(p_position integer, p_epoch bigint, p_offsets bigint[]) returns bigint[] language plpgsql as $$
declare
  v_next bigint;
  v_already bigint[];
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select next_offset into v_next from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return null; end if;
  with marked as (
    insert into sluice.done (position, "offset")
    select p_position, o from unnest(p_offsets) o where o >= v_next order by o
    on conflict do nothing
    returning "offset")
  select coalesce(array_agg(o order by o), '{}') into v_already
  from (select unnest(p_offsets) as o except select "offset" from marked) rest;
  return v_already;
end $$;
comment on function sluice.mark_all_done(integer, bigint, bigint[]) is 'Marks messages as done within the caller''s transaction.';

-- A message that waits for its producer's decision. No foreign key to the topic, as in the outbox. A row that is decided loses its
-- payload and stays for a week, so that whoever decides later is told what it was.
create table sluice.half_message (
  half bigint generated always as identity,
  topic integer not null,
  partition integer not null,
  key text,
  value text,
  attributes text,
  state text not null default 'prepared',
  check_back text not null,
  timeout_ms bigint not null,
  max_checks integer not null,
  on_undecided text not null,
  checks integer not null default 0,
  check_at timestamptz not null,
  last_answer text,
  prepared_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  decided_by text,
  message text,
  constraint half_message_pkey primary key (half),
  constraint half_message_state_known check (state in ('prepared', 'undecided', 'committed', 'rolled-back')),
  constraint half_message_payload check ((state in ('prepared', 'undecided')) = (value is not null)),
  constraint half_message_decision check ((state in ('committed', 'rolled-back')) = (decided_at is not null and decided_by is not null)),
  constraint half_message_committed check ((state = 'committed') = (message is not null)),
  constraint half_message_check_back_length check (length(check_back) between 1 and 2000),
  constraint half_message_timeout_range check (timeout_ms between 100 and 604800000),
  constraint half_message_max_checks_range check (max_checks between 1 and 1000),
  constraint half_message_on_undecided_known check (on_undecided in ('keep', 'rollback')),
  constraint half_message_decided_by_known check (decided_by in ('caller', 'check-back', 'limit')),
  constraint half_message_last_answer_length check (length(last_answer) <= 500),
  constraint half_message_key_size check (octet_length(key) <= 1024),
  constraint half_message_value_size check (octet_length(value) <= 1048576),
  constraint half_message_attributes_size check (octet_length(attributes) <= 32768),
  constraint half_message_attributes_form check (attributes like '{_%}')
) with (fillfactor = 70);
comment on table sluice.half_message is 'Messages that were prepared and wait for commit or rollback, and what was decided within the last week. See the view sluice.half_messages.';
comment on column sluice.half_message.check_back is 'Whom to ask when neither comes: the name of a check-back of an app, or a URL.';
comment on column sluice.half_message.check_at is 'When to ask next; while somebody asks, until when it is theirs.';
comment on column sluice.half_message.message is 'The id that the message has in the log; set when it is committed.';
create index half_message_due on sluice.half_message (check_at) where state = 'prepared';
comment on index sluice.half_message_due is 'Finds what is to be asked about.';
create index half_message_decided on sluice.half_message (decided_at) where decided_at is not null;
comment on index sluice.half_message_decided is 'Finds what is to be forgotten.';

-- Keeps a message that nobody sees until it is committed. Used by the producers; SQL uses sluice.prepare. Returns its number.
create function sluice.prepare_half(
  p_topic integer, p_partition integer, p_key text, p_value text, p_attributes text,
  p_check_back text, p_timeout_ms bigint, p_max_checks integer, p_on_undecided text
) returns bigint language sql
begin atomic
  insert into sluice.half_message (topic, partition, key, value, attributes, check_back, timeout_ms, max_checks, on_undecided, check_at)
  values (p_topic, p_partition, p_key, p_value, p_attributes, p_check_back, p_timeout_ms, p_max_checks, p_on_undecided,
    clock_timestamp() + make_interval(secs => p_timeout_ms / 1000.0))
  returning half;
end;
comment on function sluice.prepare_half is 'Internal: keeps a half message.';

-- Prepares one message from SQL: nobody sees it before sluice.commit_half. When neither that nor sluice.rollback_half comes within
-- the timeout, apps that know the check-back ask it.
--
--   select sluice.prepare('orders', '{"order":1}', check_back => 'orders');
--
-- Returns its number. Fails when the topic does not exist (SQLSTATE 42704) or the value, key or headers are not such as
-- sluice.send takes.
create function sluice.prepare(
  topic text, value json, check_back text, key text default null, headers json default null, partition integer default null,
  timeout interval default '1 minute', max_checks integer default 15, on_undecided text default 'keep'
) returns bigint language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer := prepare.partition;
begin
  select * into v_topic from sluice.topic t where t.name = prepare.topic;
  if not found then
    raise exception 'sluice: there is no topic %', quote_literal(prepare.topic) using errcode = '42704';
  end if;
  if prepare.value is null or prepare.check_back is null then
    raise exception 'sluice: a half message needs a value and a check-back' using errcode = '22004';
  end if;
  if v_topic.encoding = 'bytes' and json_typeof(prepare.value) <> 'string' then
    raise exception 'sluice: topic % holds bytes: the value must be a JSON string of base64', quote_literal(prepare.topic) using errcode = '22023';
  end if;
  -- A text that Postgres cannot show would make the topic's view fail for whoever reads past it.
  perform prepare.value::jsonb;
  if prepare.headers is not null and (json_typeof(prepare.headers) <> 'object'
    or exists (select from json_each(prepare.headers) h where json_typeof(h.value) <> 'string')) then
    raise exception 'sluice: headers must be a JSON object of strings' using errcode = '22023';
  end if;
  if v_partition is null then
    v_partition := coalesce(
      sluice.partition_of_key(prepare.key, v_topic.partitions), floor(random() * v_topic.partitions)::integer);
  elsif v_partition not between 0 and v_topic.partitions - 1 then
    raise exception 'sluice: topic % has partitions 0 to %, not %', quote_literal(prepare.topic), v_topic.partitions - 1, v_partition
      using errcode = '22023';
  end if;
  return sluice.prepare_half(v_topic.topic, v_partition, prepare.key, prepare.value::text,
    case when prepare.headers is not null then json_build_object('headers', prepare.headers)::text end,
    prepare.check_back, (extract(epoch from prepare.timeout) * 1000)::bigint, prepare.max_checks, prepare.on_undecided);
end $$;
comment on function sluice.prepare is 'Prepares one message, to be committed or rolled back later: select sluice.prepare(''topic'', ''{"a":1}'', check_back => ''orders'').';

-- Moves a half message into the outbox, unless it was decided before. Repeating changes nothing.
-- decided_by: 'caller', 'check-back'.
-- Returns what it is now ('committed', 'rolled-back'; 'forgotten' when it is not there any more, or never was), whether this call
-- decided it, and its id in the log when it is committed.
-- Locks: the row. It is held until the transaction ends; check-backs skip it.
create function sluice.commit_half(half bigint, decided_by text default 'caller')
returns table (outcome text, decided boolean, message text) language plpgsql as $$
declare
  v_half sluice.half_message%rowtype;
begin
  select * into v_half from sluice.half_message h where h.half = commit_half.half for update;
  if not found then return query select 'forgotten', false, null::text; return; end if;
  if v_half.decided_at is not null then return query select v_half.state, false, v_half.message; return; end if;
  insert into sluice.outbox (topic, partition, key, value, attributes)
  values (v_half.topic, v_half.partition, v_half.key, v_half.value, v_half.attributes)
  returning 'o-' || outbox into v_half.message;
  update sluice.half_message h set
    state = 'committed', key = null, value = null, attributes = null,
    decided_at = clock_timestamp(), decided_by = commit_half.decided_by, message = v_half.message
  where h.half = commit_half.half;
  perform pg_notify('sluice', 'outbox');
  return query select 'committed', true, v_half.message;
end $$;
comment on function sluice.commit_half(bigint, text) is 'Commits a half message: it enters the log once your transaction has committed.';

-- Discards a half message, unless it was decided before. Repeating changes nothing. Returns as sluice.commit_half does.
-- decided_by: 'caller', 'check-back', 'limit' (nobody could tell).
-- Locks: the row, as above.
create function sluice.rollback_half(half bigint, decided_by text default 'caller')
returns table (outcome text, decided boolean, message text) language plpgsql as $$
declare
  v_half sluice.half_message%rowtype;
begin
  select * into v_half from sluice.half_message h where h.half = rollback_half.half for update;
  if not found then return query select 'forgotten', false, null::text; return; end if;
  if v_half.decided_at is not null then return query select v_half.state, false, v_half.message; return; end if;
  update sluice.half_message h set
    state = 'rolled-back', key = null, value = null, attributes = null,
    decided_at = clock_timestamp(), decided_by = rollback_half.decided_by
  where h.half = rollback_half.half;
  return query select 'rolled-back', true, null::text;
end $$;
comment on function sluice.rollback_half(bigint, text) is 'Discards a half message: nobody ever sees it.';

-- Hands out up to p_limit half messages that are due to one who can ask about them: those of the named check-backs, and those whose
-- URL begins with one of the origins. Each is counted as asked when it is handed out, so that one that ends the process
-- is not asked about for ever, and it is nobody else's for p_lease_ms.
--
-- Those that were asked about as often as they may be are settled as they were prepared; those decided a week ago are
-- forgotten.
--
-- Locks: the rows; those that another holds are skipped.
create function sluice.claim_halves(p_names text[], p_origins text[], p_limit integer, p_lease_ms bigint)
returns table (half bigint, topic text, partition integer, key text, value text, headers text, check_back text, checks integer, prepared_at_ms bigint)
language plpgsql as $$
begin
  delete from sluice.half_message h where h.half in (
    select d.half from sluice.half_message d where d.decided_at < clock_timestamp() - interval '7 days'
    order by d.decided_at limit p_limit for update skip locked);
  perform sluice.settle_half(d.half) from (
    select h.half from sluice.half_message h
    where h.state = 'prepared' and h.checks >= h.max_checks and h.check_at <= clock_timestamp()
    order by h.check_at limit p_limit for update skip locked) d;
  return query
    with due as (
      select h.half from sluice.half_message h
      where h.state = 'prepared' and h.check_at <= clock_timestamp() and h.checks < h.max_checks
        and (h.check_back = any (p_names) or substring(h.check_back from '^https?://[^/?#]+') = any (p_origins))
      order by h.check_at limit p_limit for update skip locked)
    update sluice.half_message h set
      checks = h.checks + 1, check_at = clock_timestamp() + make_interval(secs => p_lease_ms / 1000.0)
    from due where h.half = due.half
    returning h.half, (select t.name from sluice.topic t where t.topic = h.topic), h.partition, h.key, h.value,
      (h.attributes::json -> 'headers')::text, h.check_back, h.checks, (extract(epoch from h.prepared_at) * 1000)::bigint;
end $$;
comment on function sluice.claim_halves is 'Internal: hands out half messages to be asked about.';

-- What becomes of a half message that nobody could tell about, although it was asked about as often as it may be: what it was
-- prepared with.
-- Locks: the row.
create function sluice.settle_half(p_half bigint) returns void language plpgsql as $$
begin
  if exists (select from sluice.half_message h where h.half = p_half and h.on_undecided = 'rollback') then
    perform sluice.rollback_half(p_half, 'limit');
  else
    update sluice.half_message h set state = 'undecided' where h.half = p_half and h.state = 'prepared';
  end if;
end $$;
comment on function sluice.settle_half(bigint) is 'Internal: ends the asking about a half message.';

-- Notes what a check-back said that could not tell (in a few words, never the payload), and when to ask again: after the
-- timeout it was prepared with, then twice as long each time, an hour at most.
-- Locks: the row.
create function sluice.note_half(p_half bigint, p_answer text) returns void language plpgsql as $$
declare
  v_exhausted boolean;
begin
  update sluice.half_message h set
    last_answer = left(p_answer, 500),
    check_at = clock_timestamp()
      + make_interval(secs => least(h.timeout_ms * 2 ^ least(h.checks - 1, 20), greatest(h.timeout_ms, 3600000)) / 1000.0)
  where h.half = p_half and h.state = 'prepared' returning h.checks >= h.max_checks into v_exhausted;
  if v_exhausted then perform sluice.settle_half(p_half); end if;
end $$;
comment on function sluice.note_half(bigint, text) is 'Internal: notes the answer of a check-back.';

create view sluice.half_messages as
select h.half, t.name as topic, h.partition, h.key, h.value::json as value, (h.attributes::json -> 'headers') as headers, h.state,
  h.check_back, h.checks, h.max_checks, h.last_answer, h.on_undecided, h.prepared_at,
  case when h.state = 'prepared' then h.check_at end as next_check_at, h.decided_at, h.decided_by, h.message
from sluice.half_message h
join sluice.topic t using (topic);
comment on view sluice.half_messages is 'Sluice: messages that wait for commit or rollback, and what was decided within the last week.';
comment on column sluice.half_messages.half is 'select * from sluice.commit_half(…), or sluice.rollback_half(…), decides it by hand.';
comment on column sluice.half_messages.state is 'prepared: waits for its producer, or for its check-back. undecided: was asked about max_checks times in vain, and waits for you. committed, rolled-back: decided.';
comment on column sluice.half_messages.last_answer is 'What the check-back said last when it could not tell.';
comment on column sluice.half_messages.decided_by is 'caller: commit or rollback was called. check-back: its answer. limit: nobody could tell, and it was prepared to be rolled back then.';
