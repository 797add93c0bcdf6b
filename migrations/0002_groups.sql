-- breaking: no
-- Groups, their positions, who owns them, and what could not be handled.

create table sluice.consumer_group (
  "group" integer generated always as identity,
  name text not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint consumer_group_pkey primary key ("group"),
  constraint consumer_group_name_unique unique (name),
  constraint consumer_group_name_length check (length(name) between 1 and 120)
);
comment on table sluice.consumer_group is 'A consumer group: who shares its name shares the work. See the view sluice.groups.';

create table sluice.member (
  member integer generated always as identity,
  name text not null,
  backend_pid integer not null,
  started_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null,
  constraint member_pkey primary key (member),
  constraint member_name_length check (length(name) between 1 and 200)
) with (fillfactor = 50);
comment on table sluice.member is 'A process that consumes. It lives while its session holds the advisory lock (1936487685, member).';
comment on column sluice.member.lease_until is 'Renewed by its heartbeat, by the database''s clock. A member whose lease has run out is frozen: others end its session.';

create table sluice.subscription (
  member integer not null,
  "group" integer not null,
  topic integer not null,
  constraint subscription_pkey primary key (member, "group", topic),
  constraint subscription_member foreign key (member) references sluice.member (member) on delete cascade,
  constraint subscription_group foreign key ("group") references sluice.consumer_group ("group"),
  constraint subscription_topic foreign key (topic) references sluice.topic (topic) on delete cascade
);
comment on table sluice.subscription is 'Which groups a member takes part in, and for which topics.';

-- Small and updated often: a low fillfactor and no index on what changes keep those updates on their page (HOT).
create table sluice.position (
  position integer generated always as identity,
  "group" integer not null,
  topic integer not null,
  partition integer not null,
  next_offset bigint not null,
  done_above int8multirange not null default '{}',
  epoch bigint not null default 0,
  owner integer,
  committed_at timestamptz not null default clock_timestamp(),
  constraint position_pkey primary key (position),
  constraint position_unique unique ("group", topic, partition),
  constraint position_group foreign key ("group") references sluice.consumer_group ("group"),
  constraint position_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint position_next_offset_range check (next_offset >= 0),
  constraint position_epoch_range check (epoch >= 0)
) with (fillfactor = 40);
comment on table sluice.position is 'How far a group is in a partition. See the views sluice.groups and sluice.lag.';
comment on column sluice.position.next_offset is 'Everything below is done.';
comment on column sluice.position.done_above is 'What is done at or above next_offset: handlers of one partition finish out of order.';
comment on column sluice.position.epoch is 'Counts the owners. What an older owner writes is refused.';
comment on column sluice.position.owner is 'The member that took it last; null when it was given back. The session lock (1936487684, position) says whether it still has it.';

-- A row per message whose handler committed in its own transaction, until the owner folds it into the position: many
-- transactions that update one position would queue up behind each other. Its key is also what makes the effect
-- happen once: a second try waits for the first one's outcome here, and is refused if that committed. (No foreign key:
-- its check would lock the position's row on behalf of every message.)
create table sluice.done (
  position integer not null,
  "offset" bigint not null,
  constraint done_pkey primary key (position, "offset")
);
comment on table sluice.done is 'Messages done in their handler''s transaction and not yet folded into the position.';

create table sluice.dead_letter (
  dead_letter bigint generated always as identity,
  "group" integer not null,
  topic integer not null,
  partition integer not null,
  "offset" bigint not null,
  id text not null,
  key text,
  value text not null,
  headers json not null,
  "timestamp" timestamptz not null,
  reason text not null,
  error text,
  attempts integer not null,
  died_at timestamptz not null default clock_timestamp(),
  constraint dead_letter_pkey primary key (dead_letter),
  constraint dead_letter_origin_unique unique ("group", topic, partition, "offset"),
  constraint dead_letter_group foreign key ("group") references sluice.consumer_group ("group"),
  constraint dead_letter_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint dead_letter_reason_known check (reason in ('exhausted', 'schema'))
);
comment on table sluice.dead_letter is 'What a group could not handle, whole. See the view sluice.dead_letters.';

create table sluice.duty (
  duty integer not null,
  name text not null,
  epoch bigint not null default 0,
  owner text,
  since timestamptz not null default clock_timestamp(),
  constraint duty_pkey primary key (duty),
  constraint duty_name_unique unique (name)
) with (fillfactor = 50);
comment on table sluice.duty is 'What one process at a time does for all. The session lock (1936487686, duty) picks it, the epoch fences it.';
insert into sluice.duty (duty, name) values (1, 'relay'), (2, 'retention');

-- Makes sure that a group has a position in every partition of a topic, beginning at the given offsets where it has none.
-- start: 'earliest' or 'latest'.
create function sluice.ensure_positions(p_group integer, p_topic integer, p_start text) returns void
language plpgsql as $$
declare
  v_partition integer;
  v_partitions integer;
begin
  select partitions into strict v_partitions from sluice.topic where topic = p_topic;
  if v_partitions = (select count(*) from sluice.position where "group" = p_group and topic = p_topic) then return; end if;
  for v_partition in 0 .. v_partitions - 1 loop
    insert into sluice.position ("group", topic, partition, next_offset)
    select p_group, p_topic, v_partition,
      case p_start when 'latest' then sluice.end_offset(p_topic, v_partition) else sluice.start_offset(p_topic, v_partition) end
    where not exists (
      select from sluice.position where "group" = p_group and topic = p_topic and partition = v_partition)
    on conflict ("group", topic, partition) do nothing;
  end loop;
end $$;
comment on function sluice.ensure_positions(integer, integer, text) is 'Gives a group a position in every partition of a topic.';

-- The first offset that is still in the log.
create function sluice.start_offset(p_topic integer, p_partition integer) returns bigint language sql stable
return (select s.start_offset from sluice.segment_start s where s.topic = p_topic and s.partition = p_partition
  order by s.segment limit 1);
comment on function sluice.start_offset(integer, integer) is 'The first offset of a partition that retention has left.';

-- The offset that the next message will get, as far as this snapshot sees.
create function sluice.end_offset(p_topic integer, p_partition integer) returns bigint language plpgsql stable as $$
declare
  v_segment integer;
  v_start bigint;
  v_end bigint;
begin
  for v_segment, v_start in
    select s.segment, s.start_offset from sluice.segment_start s
    where s.topic = p_topic and s.partition = p_partition order by s.segment desc limit 1
  loop
    execute format('select base_offset + count from sluice_log.topic_%s_segment_%s where partition = $1
      order by base_offset desc limit 1', p_topic, v_segment) into v_end using p_partition;
    return coalesce(v_end, v_start);
  end loop;
  return null;
end $$;
comment on function sluice.end_offset(integer, integer) is 'The offset that the next message of a partition will get.';

-- Takes a position over: waits until whatever its last owner has in flight has committed or failed, and raises the epoch,
-- so that nothing of the old owner commits afterwards. The caller holds the session lock of ownership.
-- Locks: the fence of the position, exclusive.
create function sluice.take_position(p_position integer, p_member integer)
returns table (epoch bigint, next_offset bigint, done_above text) language plpgsql as $$
begin
  perform pg_advisory_xact_lock(1936487683, p_position);
  return query
    update sluice.position p set
      epoch = p.epoch + 1,
      owner = p_member,
      done_above = p.done_above + coalesce(
        (select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d where d.position = p_position and d."offset" >= p.next_offset),
        '{}')
    where p.position = p_position
    returning p.epoch, p.next_offset, p.done_above::text;
end $$;
comment on function sluice.take_position(integer, integer) is 'Takes a position over under a new epoch.';

-- Writes positions of one owner, each under its epoch, and folds away the markers they cover. Returns the positions written;
-- one that is missing has another owner by now.
-- Locks: the fences, shared, ascending; then the rows, ascending.
create function sluice.commit_positions(p_positions integer[], p_epochs bigint[], p_next_offsets bigint[], p_done_above text[])
returns setof integer language plpgsql as $$
begin
  for i in 1 .. cardinality(p_positions) loop
    perform pg_advisory_xact_lock_shared(1936487683, p_positions[i]);
    update sluice.position p set
      next_offset = p_next_offsets[i], done_above = p_done_above[i]::int8multirange, committed_at = clock_timestamp()
    where p.position = p_positions[i] and p.epoch = p_epochs[i] and p.next_offset <= p_next_offsets[i];
    if found then
      delete from sluice.done d where d.position = p_positions[i] and d."offset" < p_next_offsets[i];
      return next p_positions[i];
    end if;
  end loop;
end $$;
comment on function sluice.commit_positions is 'Writes positions under their epochs; returns those that were accepted.';

-- Gives a position back: nobody owns it. The caller lets go of the session lock afterwards.
create function sluice.release_position(p_position integer, p_epoch bigint) returns void language sql
begin atomic
  update sluice.position set owner = null where position = p_position and epoch = p_epoch;
end;
comment on function sluice.release_position(integer, bigint) is 'Gives a position back.';

-- The last statement of a handler's own transaction: this message is done if and only if the transaction commits.
-- Returns 'done'; 'already' when it was done before; 'fenced' when the position has another owner. Other than after
-- 'done', the caller rolls back.
-- Locks: the fence of the position, shared, until the transaction ends: a takeover waits for it.
create function sluice.mark_done(p_position integer, p_epoch bigint, p_offset bigint) returns text language plpgsql as $$
declare
  v_next bigint;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select next_offset into v_next from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return 'fenced'; end if;
  if p_offset < v_next then return 'already'; end if;
  insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
  return case when found then 'done' else 'already' end;
end $$;
comment on function sluice.mark_done(integer, bigint, bigint) is 'Marks a message as done within the caller''s transaction.';

-- Takes a duty: the caller holds its session lock. Returns the epoch under which it acts from now on.
-- Locks: the fence of the duty, exclusive.
create function sluice.take_duty(p_duty integer, p_owner text) returns bigint language plpgsql as $$
declare
  v_epoch bigint;
begin
  perform pg_advisory_xact_lock(1936487687, p_duty);
  update sluice.duty set epoch = epoch + 1, owner = p_owner, since = clock_timestamp() where duty = p_duty returning epoch into v_epoch;
  return v_epoch;
end $$;
comment on function sluice.take_duty(integer, text) is 'Takes a duty under a new epoch.';

-- Refuses, with SQLSTATE SL001, to go on for one that has lost a duty, and keeps it from being taken until this
-- transaction ends.
-- Locks: the fence of the duty, shared.
create function sluice.assert_duty(p_duty integer, p_epoch bigint) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(1936487687, p_duty);
  if not exists (select from sluice.duty where duty = p_duty and epoch = p_epoch) then
    raise exception 'sluice: another process has taken duty % over', p_duty using errcode = 'SL001';
  end if;
end $$;
comment on function sluice.assert_duty(integer, bigint) is 'Refuses an owner of a duty that has been replaced.';
