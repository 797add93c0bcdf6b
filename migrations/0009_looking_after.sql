-- breaking: no
-- Looking after groups: what went wrong is read, corrected and handed over again; positions are moved; groups are paused.
--
-- A message that is handed over again does not go back into the log, which is immutable and belongs to every group: it waits
-- in sluice.redriven, beside the log, for the one group that it concerns. The owner of the position consumes both.
--
-- Advisory locks: the fence of a position (1936487683), as in 0001: shared by its owner, exclusive to move it.
-- SQLSTATEs: SL030 a group is at work, SL031 there is no such group or position, SL033 there is no such topic.

alter table sluice.dead_letter
  add column redrives integer not null default 0,
  add column original_value text,
  add column original_headers json,
  add column edited_at timestamptz,
  add column edited_by text,
  add constraint dead_letter_redrives_range check (redrives >= 0),
  add constraint dead_letter_edit_whole check ((edited_at is null) = (edited_by is null)),
  add constraint dead_letter_edited_by_length check (length(edited_by) <= 400);
comment on column sluice.dead_letter.redrives is 'How often it was handed over again and died again.';
comment on column sluice.dead_letter.original_value is 'What the value was before the first edit; null when that was never edited.';
comment on column sluice.dead_letter.original_headers is 'What the headers were before the first edit; null when those were never edited.';
comment on column sluice.dead_letter.edited_by is 'Who edited it last: the database user and the application''s name.';

create table sluice.redriven (
  position integer not null,
  redriven bigint generated always as identity,
  dead_letter bigint,
  "offset" bigint not null,
  id text not null,
  key text,
  value text not null,
  headers json not null,
  "timestamp" timestamptz not null,
  redrives integer not null,
  attempts integer not null default 0,
  original_value text,
  original_headers json,
  edited_at timestamptz,
  edited_by text,
  redriven_at timestamptz not null default clock_timestamp(),
  redriven_by text not null,
  constraint redriven_pkey primary key (position, redriven),
  constraint redriven_origin_unique unique (position, "offset"),
  constraint redriven_position foreign key (position) references sluice.position (position) on delete cascade,
  constraint redriven_attempts_range check (attempts >= 0),
  constraint redriven_redriven_by_length check (length(redriven_by) <= 400)
) with (fillfactor = 80);
comment on table sluice.redriven is 'Messages that one group handles once more, waiting beside the log for the owner of the position. See the view sluice.redriven_messages.';
comment on column sluice.redriven.dead_letter is 'The dead letter that it was, whose number it keeps should it die again; null when it was taken from the log.';
comment on column sluice.redriven.attempts is 'How often it was handed to a handler since it was redriven, counted beforehand: one that ends the process counts, too.';

create table sluice.pause (
  pause integer generated always as identity,
  "group" integer not null,
  topic integer,
  partition integer,
  reason text,
  paused_at timestamptz not null default clock_timestamp(),
  paused_by text not null,
  constraint pause_pkey primary key (pause),
  constraint pause_unique unique nulls not distinct ("group", topic, partition),
  constraint pause_group foreign key ("group") references sluice.consumer_group ("group"),
  constraint pause_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint pause_partition_of_topic check (partition is null or topic is not null),
  constraint pause_reason_length check (length(reason) <= 1000),
  constraint pause_paused_by_length check (length(paused_by) <= 400)
);
comment on table sluice.pause is 'What hands over nothing at present: a group (topic null), a topic of it (partition null), or a partition.';

create table sluice.audit (
  audit bigint generated always as identity,
  at timestamptz not null default clock_timestamp(),
  who text not null,
  act text not null,
  subject text not null,
  details json not null,
  constraint audit_pkey primary key (audit),
  constraint audit_who_length check (length(who) between 1 and 400),
  constraint audit_act_length check (length(act) between 1 and 60),
  constraint audit_subject_length check (length(subject) between 1 and 400)
);
comment on table sluice.audit is 'Every administrative act, written in the transaction of the act. See the view sluice.audits.';

-- Who acts: the user of the session, and what its application calls itself.
create function sluice.actor() returns text language sql stable
return session_user || coalesce(' (' || nullif(current_setting('application_name', true), '') || ')', '');
comment on function sluice.actor() is 'Internal: who acts, for the audit.';

create function sluice.write_audit(p_act text, p_subject text, p_details json) returns void language sql
begin atomic
  insert into sluice.audit (who, act, subject, details) values (sluice.actor(), p_act, p_subject, p_details);
end;
comment on function sluice.write_audit(text, text, json) is 'Internal: notes an act within its transaction.';

create function sluice.group_number(p_name text) returns integer language plpgsql stable as $$
declare
  v_group integer;
begin
  select g."group" into v_group from sluice.consumer_group g where g.name = p_name;
  if v_group is null then
    raise exception 'sluice: there is no group %; nothing was changed', p_name
      using errcode = 'SL031', hint = 'select "group" from sluice.groups lists those there are.';
  end if;
  return v_group;
end $$;
comment on function sluice.group_number(text) is 'Internal: the number of a group; refuses a name that is none.';

create function sluice.topic_number(p_name text) returns integer language plpgsql stable as $$
declare
  v_topic integer;
begin
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if v_topic is null then
    raise exception 'sluice: there is no topic %; nothing was changed', p_name
      using errcode = 'SL033', hint = 'select name from sluice.topics lists those there are.';
  end if;
  return v_topic;
end $$;
comment on function sluice.topic_number(text) is 'Internal: the number of a topic; refuses a name that is none.';

-- Dead letters -------------------------------------------------------------------------------------------------------

-- Hands dead letters to their groups once more: each letter leaves and its message waits, in one transaction. Letters of a
-- partition go back in the order of their offsets, and so do those of a key.
-- dead_letters: numbers, at most 10,000.
-- Returns for each number once: 'redriven'; 'gone' when there is no such letter (any more); 'waiting' when the same message
-- waits already, and the letter stays.
-- Locks: rows of sluice.dead_letter, ascending.
create function sluice.redrive(dead_letters bigint[]) returns table (dead_letter bigint, outcome text) language plpgsql as $$
#variable_conflict use_column
declare
  v_found bigint[];
  v_moved bigint[];
  v_positions integer[];
  v_position integer;
begin
  if cardinality(dead_letters) > 10000 then
    raise exception 'sluice: at most 10000 dead letters at a time, not %; nothing was redriven', cardinality(dead_letters)
      using errcode = '22023', hint = 'sluice.redrive_group takes all of a group, in steps.';
  end if;
  select array_agg(l.dead_letter) into v_found
  from (select d.dead_letter from sluice.dead_letter d where d.dead_letter = any (dead_letters) order by d.dead_letter for update) l;
  with put as (
    insert into sluice.redriven (position, dead_letter, "offset", id, key, value, headers, "timestamp", redrives,
      original_value, original_headers, edited_at, edited_by, redriven_by)
    select p.position, d.dead_letter, d."offset", d.id, d.key, d.value, d.headers, d."timestamp", d.redrives + 1,
      d.original_value, d.original_headers, d.edited_at, d.edited_by, sluice.actor()
    from sluice.dead_letter d
    join sluice.position p on p."group" = d."group" and p.topic = d.topic and p.partition = d.partition
    where d.dead_letter = any (v_found)
    order by p.position, d."offset"
    on conflict (position, "offset") do nothing
    returning redriven.dead_letter, redriven.position)
  select array_agg(put.dead_letter), array_agg(distinct put.position) into v_moved, v_positions from put;
  insert into sluice.audit (who, act, subject, details)
  select sluice.actor(), 'redrive', format('group %s, topic %s', g.name, t.name), json_build_object('dead_letters', json_agg(d.dead_letter order by d.dead_letter))
  from sluice.dead_letter d join sluice.consumer_group g using ("group") join sluice.topic t using (topic)
  where d.dead_letter = any (v_moved) group by g.name, t.name;
  delete from sluice.dead_letter d where d.dead_letter = any (v_moved);
  foreach v_position in array coalesce(v_positions, '{}') loop
    perform pg_notify('sluice', 'redrive ' || v_position);
  end loop;
  return query
    select n.number, case when n.number = any (v_moved) then 'redriven' when n.number = any (v_found) then 'waiting' else 'gone' end
    from (select distinct unnest(dead_letters) as number) n where n.number is not null order by n.number;
end $$;
comment on function sluice.redrive(bigint[]) is 'Hands dead letters to their groups once more: select * from sluice.redrive(array[1, 2]).';

-- Hands dead letters of a group to it once more, the lowest offsets of each partition first, "limit" of them at most, and
-- returns how many. Only those that died before died_before, if that is given: so that one who goes on until none is left
-- does not meet those again that die again. Callers at the same time wait for each other: order per key holds across them.
-- Locks: rows of sluice.dead_letter, ascending.
create function sluice.redrive_group(
  "group" text, topic text default null, "limit" integer default 1000, died_before timestamptz default null
) returns integer language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(redrive_group."group");
  v_topic integer := case when redrive_group.topic is not null then sluice.topic_number(redrive_group.topic) end;
  v_chosen bigint[];
  v_moved integer;
begin
  if "limit" not between 1 and 10000 then
    raise exception 'sluice: limit must be from 1 to 10000, not %; nothing was redriven', "limit" using errcode = '22023';
  end if;
  loop
    select array_agg(c.dead_letter) into v_chosen
    from (
      select d.dead_letter from sluice.dead_letter d
      join sluice.position p on p."group" = d."group" and p.topic = d.topic and p.partition = d.partition
      where d."group" = v_group and (v_topic is null or d.topic = v_topic) and (died_before is null or d.died_at < died_before)
        and not exists (select from sluice.redriven r where r.position = p.position and r."offset" = d."offset")
      order by d."group", d.topic, d.partition, d."offset" limit redrive_group."limit") c;
    if v_chosen is null then return 0; end if;
    select count(*) into v_moved from sluice.redrive(v_chosen) r where r.outcome = 'redriven';
    -- None of them: another caller had them first. What is left is looked at anew.
    if v_moved > 0 then return v_moved; end if;
  end loop;
end $$;
comment on function sluice.redrive_group(text, text, integer, timestamptz) is 'Hands dead letters of a group to it once more: select sluice.redrive_group(''welcome''). Returns how many.';

-- Gives dead letters up for good.
-- Returns for each number once: 'discarded', or 'gone' when there is no such letter (any more).
-- Locks: rows of sluice.dead_letter, ascending.
create function sluice.discard(dead_letters bigint[]) returns table (dead_letter bigint, outcome text) language plpgsql as $$
#variable_conflict use_column
declare
  v_found bigint[];
begin
  if cardinality(dead_letters) > 10000 then
    raise exception 'sluice: at most 10000 dead letters at a time, not %; nothing was discarded', cardinality(dead_letters)
      using errcode = '22023';
  end if;
  select array_agg(l.dead_letter) into v_found
  from (select d.dead_letter from sluice.dead_letter d where d.dead_letter = any (dead_letters) order by d.dead_letter for update) l;
  perform sluice.drop_dead_letters('discard', v_found);
  return query
    select n.number, case when n.number = any (v_found) then 'discarded' else 'gone' end
    from (select distinct unnest(dead_letters) as number) n where n.number is not null order by n.number;
end $$;
comment on function sluice.discard(bigint[]) is 'Gives dead letters up for good: select * from sluice.discard(array[1, 2]).';

-- Deletes letters that the caller has locked; the audit keeps where each was in the log.
create function sluice.drop_dead_letters(p_act text, p_dead_letters bigint[]) returns void language sql
begin atomic
  insert into sluice.audit (who, act, subject, details)
  select sluice.actor(), p_act, format('group %s, topic %s', g.name, t.name), json_build_object('letters',
    json_agg(json_build_object('dead_letter', d.dead_letter, 'partition', d.partition, 'offset', d."offset", 'id', d.id) order by d.dead_letter))
  from sluice.dead_letter d join sluice.consumer_group g using ("group") join sluice.topic t using (topic)
  where d.dead_letter = any (p_dead_letters) group by g.name, t.name;
  delete from sluice.dead_letter d where d.dead_letter = any (p_dead_letters);
end;
comment on function sluice.drop_dead_letters(text, bigint[]) is 'Internal: deletes dead letters and notes where they were.';

-- Gives up dead letters that died before a time, 10,000 at most, and returns how many. Nothing does this by itself.
-- Locks: rows of sluice.dead_letter, ascending.
create function sluice.purge_dead_letters(before timestamptz, "group" text default null, topic text default null) returns integer
language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := case when purge_dead_letters."group" is not null then sluice.group_number(purge_dead_letters."group") end;
  v_topic integer := case when purge_dead_letters.topic is not null then sluice.topic_number(purge_dead_letters.topic) end;
  v_found bigint[];
begin
  select array_agg(l.dead_letter) into v_found
  from (
    select d.dead_letter from sluice.dead_letter d
    where d.died_at < before and (v_group is null or d."group" = v_group) and (v_topic is null or d.topic = v_topic)
    order by d.dead_letter limit 10000 for update) l;
  perform sluice.drop_dead_letters('purge', v_found);
  return coalesce(cardinality(v_found), 0);
end $$;
comment on function sluice.purge_dead_letters(timestamptz, text, text) is 'Gives up dead letters older than a time, 10,000 at most a call: select sluice.purge_dead_letters(now() - interval ''90 days'').';

-- Changes what a dead letter will be handed over as. What is null stays; what it was at first is kept beside.
-- Returns 'edited', or 'gone' when there is no such letter (any more).
-- Locks: the row of sluice.dead_letter.
create function sluice.edit_dead_letter(dead_letter bigint, value json default null, headers json default null) returns text
language plpgsql as $$
#variable_conflict use_column
declare
  v_subject text;
begin
  -- jsonb refuses what cannot be shown as text: NUL, and half a surrogate pair.
  perform edit_dead_letter.value::jsonb, edit_dead_letter.headers::jsonb;
  if octet_length(edit_dead_letter.value::text) > 1048576 or octet_length(edit_dead_letter.headers::text) > 16384 then
    raise exception 'sluice: a value has at most 1048576 bytes, headers 16384; dead letter % was not edited', edit_dead_letter.dead_letter
      using errcode = '22023';
  end if;
  if edit_dead_letter.headers is not null and (json_typeof(edit_dead_letter.headers) <> 'object' or exists (
    select from json_each(case when json_typeof(edit_dead_letter.headers) = 'object' then edit_dead_letter.headers else '{}' end) h
    where json_typeof(h.value) <> 'string')
  ) then
    raise exception 'sluice: headers must be a JSON object of strings; dead letter % was not edited', edit_dead_letter.dead_letter
      using errcode = '22023';
  end if;
  update sluice.dead_letter d set
    original_value = case when edit_dead_letter.value is null then d.original_value else coalesce(d.original_value, d.value) end,
    original_headers = case when edit_dead_letter.headers is null then d.original_headers else coalesce(d.original_headers, d.headers) end,
    value = coalesce(edit_dead_letter.value::text, d.value),
    headers = coalesce(edit_dead_letter.headers, d.headers),
    edited_at = clock_timestamp(), edited_by = sluice.actor()
  where d.dead_letter = edit_dead_letter.dead_letter
  returning (select format('group %s, topic %s', g.name, t.name) from sluice.consumer_group g, sluice.topic t
    where g."group" = d."group" and t.topic = d.topic) into v_subject;
  if not found then return 'gone'; end if;
  perform sluice.write_audit('edit', v_subject, json_build_object('dead_letter', edit_dead_letter.dead_letter,
    'value', edit_dead_letter.value is not null, 'headers', edit_dead_letter.headers is not null));
  return 'edited';
end $$;
comment on function sluice.edit_dead_letter(bigint, json, json) is 'Changes a dead letter before it is redriven: select sluice.edit_dead_letter(1, value => ''{"a":1}'').';

-- Puts a message of the log before one group once more; others see nothing of it, and no position moves.
-- Returns 'redriven'; 'waiting' when it waits already; 'gone' when it is not in the log (any more, or yet).
-- Locks: none that another caller waits for longer than one insert.
create function sluice.consume_again("group" text, topic text, partition integer, "offset" bigint) returns text
language plpgsql as $$
#variable_conflict use_column
declare
  v_topic integer := sluice.topic_number(consume_again.topic);
  v_group integer := sluice.group_number(consume_again."group");
  v_offset constant bigint := consume_again."offset";
  v_position integer;
  v_segment integer;
  v_put integer;
begin
  select p.position into v_position from sluice.position p
  where p."group" = v_group and p.topic = v_topic and p.partition = consume_again.partition;
  if not found then
    raise exception 'sluice: group % has no position in partition % of topic %; nothing was changed',
      consume_again."group", consume_again.partition, consume_again.topic using errcode = 'SL031';
  end if;
  select s.segment into v_segment from sluice.segment_start s
  where s.topic = v_topic and s.partition = consume_again.partition and s.start_offset <= v_offset
  order by s.segment desc limit 1;
  if not found then return 'gone'; end if;
  if exists (select from sluice.redriven r where r.position = v_position and r."offset" = v_offset) then return 'waiting'; end if;
  execute format($query$
    insert into sluice.redriven (position, "offset", id, key, value, headers, "timestamp", redrives, redriven_by)
    select $1, $2, coalesce(a.attributes ->> 'id', b.producer || '-' || b.sequence + n.number), b.keys::json ->> n.number,
      (b.records::json -> n.number)::text, coalesce(a.attributes -> 'headers', '{}'),
      coalesce(to_timestamp((a.attributes ->> 'timestamp')::double precision / 1000), b.appended_at), 1, sluice.actor()
    from (
      select * from sluice_log.topic_%s_segment_%s where partition = $3 and base_offset <= $2 order by base_offset desc limit 1) b
    cross join lateral (select ($2 - b.base_offset)::integer as number where b.base_offset + b.count > $2) n
    cross join lateral (
      select case when json_typeof(b.attributes::json -> n.number) = 'object' then b.attributes::json -> n.number end as attributes) a
    on conflict (position, "offset") do nothing$query$, v_topic, v_segment)
  using v_position, v_offset, consume_again.partition;
  get diagnostics v_put = row_count;
  if v_put = 0 then
    return case when exists (select from sluice.redriven r where r.position = v_position and r."offset" = v_offset)
      then 'waiting' else 'gone' end;
  end if;
  perform sluice.write_audit('consume again', format('group %s, topic %s', consume_again."group", consume_again.topic),
    json_build_object('partition', consume_again.partition, 'offset', v_offset));
  perform pg_notify('sluice', 'redrive ' || v_position);
  return 'redriven';
end $$;
comment on function sluice.consume_again(text, text, integer, bigint) is 'Hands one message of the log to one group once more: select sluice.consume_again(''welcome'', ''signups'', 0, 42).';

-- Counts an attempt of a redriven message before it is handed over, and returns the count: 0 when it waits no more, -1 when
-- the position has another owner.
-- Locks: the fence of the position, shared.
create function sluice.begin_redriven(p_position integer, p_epoch bigint, p_redriven bigint) returns integer language plpgsql as $$
declare
  v_attempts integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  if not exists (select from sluice.position where position = p_position and epoch = p_epoch) then return -1; end if;
  update sluice.redriven set attempts = attempts + 1 where position = p_position and redriven = p_redriven
  returning attempts into v_attempts;
  return coalesce(v_attempts, 0);
end $$;
comment on function sluice.begin_redriven(integer, bigint, bigint) is 'Internal: counts an attempt of a redriven message.';

-- A redriven message is done: by the row's deletion, if and only if the transaction commits. As sluice.mark_done, it may be
-- the last statement of a handler's own transaction, and a second try's waits for the first one's outcome on the row.
-- Returns 'done'; 'already' when it waits no more; 'fenced' when the position has another owner.
-- Locks: the fence of the position, shared, until the transaction ends; then the row.
create function sluice.mark_redriven(p_position integer, p_epoch bigint, p_redriven bigint) returns text language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  if not exists (select from sluice.position where position = p_position and epoch = p_epoch) then return 'fenced'; end if;
  delete from sluice.redriven where position = p_position and redriven = p_redriven;
  return case when found then 'done' else 'already' end;
end $$;
comment on function sluice.mark_redriven(integer, bigint, bigint) is 'Internal: marks a redriven message as done within the caller''s transaction.';

-- A redriven message could not be handled: it is a dead letter again, under its number. Should the same message have died
-- of the log meanwhile (the group was reset), this failure, the later one, takes that letter's place.
-- Returns 'done'; 'already' when it waits no more; 'fenced' when the position has another owner.
-- Locks: the fence of the position, shared; then the rows.
create function sluice.bury_redriven(
  p_position integer, p_epoch bigint, p_redriven bigint, p_reason text, p_error text, p_attempts integer
) returns text language plpgsql as $$
declare
  v_message sluice.redriven;
  v_position sluice.position;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select * into v_position from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return 'fenced'; end if;
  delete from sluice.redriven where position = p_position and redriven = p_redriven returning * into v_message;
  if not found then return 'already'; end if;
  insert into sluice.dead_letter (dead_letter, "group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error,
    attempts, redrives, original_value, original_headers, edited_at, edited_by)
  overriding system value
  values (coalesce(v_message.dead_letter, nextval(pg_get_serial_sequence('sluice.dead_letter', 'dead_letter'))),
    v_position."group", v_position.topic, v_position.partition, v_message."offset", v_message.id, v_message.key, v_message.value,
    v_message.headers, v_message."timestamp", p_reason, p_error, p_attempts, v_message.redrives, v_message.original_value,
    v_message.original_headers, v_message.edited_at, v_message.edited_by)
  on conflict ("group", topic, partition, "offset") do update set
    value = excluded.value, headers = excluded.headers, reason = excluded.reason, error = excluded.error, attempts = excluded.attempts,
    redrives = excluded.redrives, died_at = clock_timestamp(), original_value = excluded.original_value,
    original_headers = excluded.original_headers, edited_at = excluded.edited_at, edited_by = excluded.edited_by;
  return 'done';
end $$;
comment on function sluice.bury_redriven(integer, bigint, bigint, text, text, integer) is 'Internal: a redriven message is a dead letter again.';

-- Positions ----------------------------------------------------------------------------------------------------------

-- The first offset of a partition whose batch was appended at a time or later; the end when there is none. Looks by halves,
-- since nothing is indexed by time: batches of a partition are appended one after the other, so their times ascend (as far
-- as the server's clock does).
create function sluice.offset_at(p_topic integer, p_partition integer, p_time timestamptz) returns bigint language plpgsql stable as $$
declare
  v_low bigint := sluice.start_offset(p_topic, p_partition);
  v_high bigint := sluice.end_offset(p_topic, p_partition);
  v_middle bigint;
  v_segment integer;
  v_base bigint;
  v_count integer;
  v_appended_at timestamptz;
begin
  while v_low < v_high loop
    v_middle := v_low + (v_high - v_low) / 2;
    select s.segment into v_segment from sluice.segment_start s
    where s.topic = p_topic and s.partition = p_partition and s.start_offset <= v_middle order by s.segment desc limit 1;
    execute format('select base_offset, count, appended_at from sluice_log.topic_%s_segment_%s
      where partition = $1 and base_offset <= $2 order by base_offset desc limit 1', p_topic, v_segment)
    into v_base, v_count, v_appended_at using p_partition, v_middle;
    -- Everything below v_low is earlier, what is at v_high is not. Retention may have taken what lies between.
    if v_base is null then v_low := v_middle + 1;
    elsif v_appended_at >= p_time then v_high := greatest(v_base, v_low);
    else v_low := greatest(v_base + v_count, v_middle + 1);
    end if;
  end loop;
  return v_low;
end $$;
comment on function sluice.offset_at(integer, integer, timestamptz) is 'The first offset that was appended at a time or later.';

-- Where 'earliest', 'latest', an offset in digits, or a time is in a partition. An offset may lie outside of the log.
create function sluice.find_offset(p_topic integer, p_partition integer, p_to text) returns numeric language sql stable
return case when p_to = 'earliest' then sluice.start_offset(p_topic, p_partition)
  when p_to = 'latest' then sluice.end_offset(p_topic, p_partition)
  when p_to ~ '^[0-9]{1,18}$' then p_to::numeric
  else sluice.offset_at(p_topic, p_partition, p_to::timestamptz) end;
comment on function sluice.find_offset(integer, integer, text) is 'Internal: the offset that a text says: earliest, latest, digits, or a time.';

-- Makes sure that a group has a position in every partition of a topic, beginning where p_start says where it has none; see
-- sluice.find_offset. An offset outside of the log is moved to its start or end.
-- Locks: rows of sluice.position that are new.
create function sluice.ensure_positions_at(p_group integer, p_topic integer, p_start text) returns void language plpgsql as $$
declare
  v_partitions integer;
begin
  select partitions into strict v_partitions from sluice.topic where topic = p_topic;
  if v_partitions = (select count(*) from sluice.position where "group" = p_group and topic = p_topic) then return; end if;
  insert into sluice.position ("group", topic, partition, next_offset)
  select p_group, p_topic, n.partition, greatest(sluice.start_offset(p_topic, n.partition),
    least(sluice.end_offset(p_topic, n.partition), sluice.find_offset(p_topic, n.partition, p_start)))
  from generate_series(0, v_partitions - 1) as n(partition)
  where not exists (select from sluice.position p where p."group" = p_group and p.topic = p_topic and p.partition = n.partition)
  order by n.partition
  on conflict ("group", topic, partition) do nothing;
end $$;
comment on function sluice.ensure_positions_at(integer, integer, text) is 'Gives a group a position in every partition of a topic, beginning at an offset or a time.';

-- Whether somebody owns a position: the session lock of ownership is held.
create function sluice.is_owned(p_position integer) returns boolean language sql volatile
return exists (
  select from pg_locks l
  where l.locktype = 'advisory' and l.classid = 1936487684 and l.objid = p_position::oid and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database()));
comment on function sluice.is_owned(integer) is 'Internal: whether a session owns a position.';

-- Moves positions, each to where p_to says (see sluice.find_offset), by p_by, or to where the group p_source is; within the
-- log. What was done above a position counts no more, and what waits to be tried again is forgotten: the log has it.
-- Raises the epoch, also where nobody is: an owner that was cut off may not know yet.
-- Locks: the fences, exclusive, ascending, until the transaction ends: it waits for what is in flight, and nothing of the old
-- owner commits afterwards; then the rows. A dry run takes none.
create function sluice.move_positions(
  p_act text, p_positions integer[], p_to text, p_by bigint, p_source integer, p_dry_run boolean, p_force boolean
) returns table (topic text, partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
language plpgsql as $$
#variable_conflict use_column
declare
  v_position record;
  v_owned text;
  v_wanted numeric;
  v_done int8multirange;
  v_moves json[] := '{}';
  v_subject text;
begin
  if not p_dry_run then
    for v_position in select unnest(p_positions) as position order by 1 loop
      perform pg_advisory_xact_lock(1936487683, v_position.position);
    end loop;
    select string_agg(format('%s/%s', t.name, p.partition), ', ' order by t.name, p.partition) into v_owned
    from sluice.position p join sluice.topic t using (topic)
    where p.position = any (p_positions) and sluice.is_owned(p.position);
    if v_owned is not null and not p_force then
      raise exception 'sluice: members of the group are at work on %; nothing was moved', left(v_owned, 500) using errcode = 'SL030',
        hint = 'Stop them first, or pass force => true: what they have in flight is void then, and they go on from the new place.';
    end if;
  end if;
  for v_position in
    select p.*, t.name, g.name as group_name, sluice.start_offset(p.topic, p.partition) as start_offset,
      sluice.end_offset(p.topic, p.partition) as end_offset
    from sluice.position p join sluice.topic t using (topic) join sluice.consumer_group g using ("group")
    where p.position = any (p_positions) order by t.name, p.partition
  loop
    v_wanted := case when p_by is not null then v_position.next_offset::numeric + p_by
      when p_source is not null then (select s.next_offset from sluice.position s
        where s."group" = p_source and s.topic = v_position.topic and s.partition = v_position.partition)
      else sluice.find_offset(v_position.topic, v_position.partition, p_to) end;
    v_done := v_position.done_above + coalesce((
      select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d
      where d.position = v_position.position and d."offset" >= v_position.next_offset), '{}');
    topic := v_position.name;
    partition := v_position.partition;
    from_offset := v_position.next_offset;
    to_offset := greatest(v_position.start_offset, least(v_position.end_offset, v_wanted));
    skipped := greatest(to_offset - from_offset, 0) - coalesce((
      select sum(upper(r) - lower(r)) from unnest(v_done * int8multirange(int8range(null, to_offset))) r), 0);
    repeated := greatest(least(from_offset, v_position.end_offset) - to_offset, 0) + coalesce((
      select sum(upper(r) - lower(r)) from unnest(v_done * int8multirange(int8range(to_offset, null))) r), 0);
    note := nullif(concat_ws('; ',
      case when v_wanted < to_offset then format('%s is before the log, which begins at %s', v_wanted, to_offset)
        when v_wanted > to_offset then format('%s is beyond the log, which ends at %s', v_wanted, to_offset) end,
      case when sluice.is_owned(v_position.position) then
        case when p_dry_run then 'a member is at work on it: needs force' else 'its member was fenced' end end), '');
    if not p_dry_run then
      update sluice.position p set next_offset = to_offset, done_above = '{}', epoch = p.epoch + 1, committed_at = clock_timestamp()
      where p.position = v_position.position;
      delete from sluice.done d where d.position = v_position.position;
      if to_regclass('sluice.retry') is not null then
        execute 'delete from sluice.retry where position = $1' using v_position.position;
      end if;
      v_moves := v_moves || json_build_object('position', v_position.position, 'topic', topic, 'partition', partition,
        'from', from_offset, 'to', to_offset, 'skipped', skipped, 'repeated', repeated);
      v_subject := format('group %s', v_position.group_name);
      perform pg_notify('sluice', 'group ' || v_position."group");
    end if;
    return next;
  end loop;
  if v_subject is not null then
    perform sluice.write_audit(p_act, v_subject, json_build_object('to', p_to, 'by', p_by,
      'source', (select g.name from sluice.consumer_group g where g."group" = p_source), 'forced', p_force, 'moves', array_to_json(v_moves)));
  end if;
end $$;
comment on function sluice.move_positions is 'Internal: moves positions; see sluice.reset_position, sluice.shift_position and sluice.clone_group.';

-- The positions of a group in a topic, all or those of some partitions; refuses a partition without one.
create function sluice.positions_of(p_group text, p_topic text, p_partitions integer[]) returns integer[] language plpgsql stable as $$
declare
  v_group integer := sluice.group_number(p_group);
  v_topic integer := sluice.topic_number(p_topic);
  v_positions integer[];
begin
  select array_agg(p.position) into v_positions from sluice.position p
  where p."group" = v_group and p.topic = v_topic
    and (p_partitions is null or p.partition = any (p_partitions));
  if v_positions is null or cardinality(v_positions) < (select count(distinct n) from unnest(p_partitions) n) then
    raise exception 'sluice: group % has no position in topic %, or not in each of these partitions; nothing was changed', p_group, p_topic
      using errcode = 'SL031', hint = 'select "group", topic, partition from sluice.lag lists the positions.';
  end if;
  return v_positions;
end $$;
comment on function sluice.positions_of(text, text, integer[]) is 'Internal: the numbers of a group''s positions.';

-- Moves a group's position in a topic to an absolute place.
-- "to": 'earliest', 'latest', an offset in digits, or a time (2026-01-31T12:00:00Z): the first message appended then or later.
-- partitions: some of them; null for all. dry_run: tells only. force: also where members are at work; they are fenced.
-- Returns for each partition from where to where, and how many messages are skipped unhandled or handled again.
-- Locks: see sluice.move_positions.
create function sluice.reset_position(
  "group" text, topic text, "to" text, partitions integer[] default null, dry_run boolean default false, force boolean default false
) returns table (partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
language sql as $$
  select m.partition, m.from_offset, m.to_offset, m.skipped, m.repeated, m.note
  from sluice.move_positions('reset', sluice.positions_of($1, $2, $4), $3, null, null, $5, $6) m
$$;
comment on function sluice.reset_position is 'Moves a group''s position to an offset or a time: select * from sluice.reset_position(''welcome'', ''signups'', ''earliest'', dry_run => true).';

-- As sluice.reset_position, by a number of messages: negative goes back.
-- Locks: see sluice.move_positions.
create function sluice.shift_position(
  "group" text, topic text, "by" bigint, partitions integer[] default null, dry_run boolean default false, force boolean default false
) returns table (partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
language sql as $$
  select m.partition, m.from_offset, m.to_offset, m.skipped, m.repeated, m.note
  from sluice.move_positions('shift', sluice.positions_of($1, $2, $4), null, coalesce($3, 0), null, $5, $6) m
$$;
comment on function sluice.shift_position is 'Moves a group''s position by a number of messages: select * from sluice.shift_position(''welcome'', ''signups'', -100).';

-- Moves a group, made if it is new, to where another one is, in every topic of that one. What that one had done above its
-- position is handed over again; what waits to be tried again there does not wait here.
-- Locks: see sluice.move_positions.
create function sluice.clone_group("from" text, "to" text, dry_run boolean default false, force boolean default false)
returns table (topic text, partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
language plpgsql as $$
#variable_conflict use_column
declare
  v_from integer := sluice.group_number("from");
  v_to integer;
  v_topic integer;
  v_positions integer[];
begin
  if "from" = "to" then
    raise exception 'sluice: a group cannot be cloned to itself; nothing was changed' using errcode = '22023';
  end if;
  if not dry_run then
    insert into sluice.consumer_group (name) values ("to") on conflict (name) do nothing;
  end if;
  select g."group" into v_to from sluice.consumer_group g where g.name = "to";
  if not dry_run then
    for v_topic in select distinct p.topic from sluice.position p where p."group" = v_from order by p.topic loop
      perform sluice.ensure_positions_at(v_to, v_topic, 'earliest');
    end loop;
  end if;
  v_positions := array(
    select t.position from sluice.position s
    join sluice.position t on t."group" = v_to and t.topic = s.topic and t.partition = s.partition
    where s."group" = v_from);
  return query select * from sluice.move_positions('clone', v_positions, null, null, v_from, dry_run, force);
  return query
    select t.name, s.partition, null::bigint, s.next_offset, 0::bigint, 0::bigint, 'will be made'
    from sluice.position s join sluice.topic t using (topic)
    where s."group" = v_from and dry_run and not exists (
      select from sluice.position o where o."group" = v_to and o.topic = s.topic and o.partition = s.partition)
    order by t.name, s.partition;
end $$;
comment on function sluice.clone_group is 'Moves a group to where another one is: select * from sluice.clone_group(''welcome'', ''welcome-v2'').';

-- Pausing ------------------------------------------------------------------------------------------------------------

-- Whether a position hands over nothing at present.
create function sluice.is_paused(p_group integer, p_topic integer, p_partition integer) returns boolean language sql stable
return exists (
  select from sluice.pause s
  where s."group" = p_group and (s.topic is null or s.topic = p_topic) and (s.partition is null or s.partition = p_partition));
comment on function sluice.is_paused(integer, integer, integer) is 'Internal: whether a position is paused, by itself, with its topic or with its group.';

-- Pauses a group, a topic of it, or a partition: its members hand over nothing more, what runs finishes, and they keep their
-- partitions. Holds until sluice.resume_group, whatever restarts.
-- Returns whether it was not paused so before.
-- Locks: none that another caller waits for longer than one insert.
create function sluice.pause_group("group" text, topic text default null, partition integer default null, reason text default null)
returns boolean language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(pause_group."group");
  v_topic integer := case when pause_group.topic is not null then sluice.topic_number(pause_group.topic) end;
begin
  if pause_group.partition is not null then
    perform sluice.positions_of(pause_group."group", pause_group.topic, array[pause_group.partition]);
  end if;
  insert into sluice.pause ("group", topic, partition, reason, paused_by)
  values (v_group, v_topic, pause_group.partition, pause_group.reason, sluice.actor())
  on conflict ("group", topic, partition) do nothing;
  if not found then return false; end if;
  perform sluice.write_audit('pause', format('group %s', pause_group."group"),
    json_build_object('topic', pause_group.topic, 'partition', pause_group.partition, 'reason', pause_group.reason));
  perform pg_notify('sluice', 'group ' || v_group);
  return true;
end $$;
comment on function sluice.pause_group(text, text, integer, text) is 'Pauses a group, a topic of it or a partition: select sluice.pause_group(''welcome'', reason => ''load test'').';

-- Ends the pauses of a group: all of them, those of a topic and its partitions, or that of one partition. A wider pause holds
-- on. Returns how many were ended.
-- Locks: rows of sluice.pause.
create function sluice.resume_group("group" text, topic text default null, partition integer default null) returns integer
language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(resume_group."group");
  v_topic integer := case when resume_group.topic is not null then sluice.topic_number(resume_group.topic) end;
  v_ended integer;
begin
  delete from sluice.pause s
  where s."group" = v_group and (v_topic is null or s.topic = v_topic)
    and (resume_group.partition is null or s.partition = resume_group.partition);
  get diagnostics v_ended = row_count;
  if v_ended = 0 then return 0; end if;
  perform sluice.write_audit('resume', format('group %s', resume_group."group"),
    json_build_object('topic', resume_group.topic, 'partition', resume_group.partition, 'ended', v_ended));
  perform pg_notify('sluice', 'group ' || v_group);
  return v_ended;
end $$;
comment on function sluice.resume_group(text, text, integer) is 'Ends the pauses of a group: select sluice.resume_group(''welcome'').';

-- The owner pauses its partition, because a message failed for the last time and the consumer wants that.
-- Returns 'paused', also when it was before, or 'fenced' when the position has another owner.
-- Locks: the fence of the position, shared.
create function sluice.pause_position(p_position integer, p_epoch bigint, p_reason text) returns text language plpgsql as $$
declare
  v_position sluice.position;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select * into v_position from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return 'fenced'; end if;
  insert into sluice.pause ("group", topic, partition, reason, paused_by)
  values (v_position."group", v_position.topic, v_position.partition, p_reason, sluice.actor())
  on conflict ("group", topic, partition) do nothing;
  if found then
    perform sluice.write_audit('pause',
      (select format('group %s', g.name) from sluice.consumer_group g where g."group" = v_position."group"),
      json_build_object('topic', (select t.name from sluice.topic t where t.topic = v_position.topic),
        'partition', v_position.partition, 'reason', p_reason));
  end if;
  return 'paused';
end $$;
comment on function sluice.pause_position(integer, bigint, text) is 'Internal: an owner pauses its partition.';

-- Views --------------------------------------------------------------------------------------------------------------

create or replace view sluice.lag as
select g.name as "group", t.name as topic, p.partition,
  p.next_offset as committed_offset, e.end_offset,
  e.end_offset - p.next_offset - coalesce((select sum(upper(r) - lower(r)) from unnest(p.done_above) r), 0)::bigint as lag,
  case when p.next_offset < e.end_offset
    then clock_timestamp() - sluice.appended_at(t.topic, p.partition, p.next_offset) end as oldest_age,
  m.name as owner, p.epoch, p.committed_at,
  s.paused_at as paused_since, s.paused_by, s.reason as paused_reason
from sluice.position p
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.member m on m.member = p.owner
cross join lateral (select sluice.end_offset(p.topic, p.partition) as end_offset) e
left join lateral (
  select * from sluice.pause o
  where o."group" = p."group" and (o.topic is null or o.topic = p.topic) and (o.partition is null or o.partition = p.partition)
  order by o.paused_at limit 1) s on true;
comment on column sluice.lag.paused_since is 'Since when it hands over nothing; null when it is not paused. By itself, with its topic or with its group, whichever came first.';
comment on column sluice.lag.paused_by is 'Who paused it: the database user and the application''s name.';

create or replace view sluice.groups as
select l."group", l.topic, count(*) as partitions, count(l.owner) as owned_partitions,
  count(distinct l.owner) as working_members, sum(l.lag)::bigint as lag, max(l.oldest_age) as oldest_age, max(l.committed_at) as committed_at,
  count(l.paused_since) as paused_partitions, min(l.paused_since) as paused_since,
  (array_agg(l.paused_by order by l.paused_since))[1] as paused_by, (array_agg(l.paused_reason order by l.paused_since))[1] as paused_reason
from sluice.lag l group by l."group", l.topic;
comment on column sluice.groups.paused_partitions is 'How many of its partitions hand over nothing at present; sluice.lag says which.';

create or replace view sluice.dead_letters as
select d.dead_letter, g.name as "group", t.name as topic, d.partition, d."offset", d.id, d.key, d.value::json as value, d.headers,
  d."timestamp", d.reason, d.error, d.attempts, d.died_at,
  d.redrives, d.original_value::json as original_value, d.original_headers, d.edited_at, d.edited_by
from sluice.dead_letter d
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic);

create view sluice.redriven_messages as
select r.redriven, r.dead_letter, g.name as "group", t.name as topic, p.partition, r."offset", r.id, r.key, r.value::json as value,
  r.headers, r."timestamp", r.attempts, r.redrives, r.edited_at, r.edited_by, r.redriven_at, r.redriven_by
from sluice.redriven r
join sluice.position p using (position)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic);
comment on view sluice.redriven_messages is 'Sluice: messages that a group handles once more and that wait for it: redriven dead letters, and what was to be consumed again.';
comment on column sluice.redriven_messages.dead_letter is 'The dead letter that it was; null when it was taken from the log.';
comment on column sluice.redriven_messages.attempts is 'How often it was handed to a handler since then.';

create view sluice.pauses as
select g.name as "group", t.name as topic, s.partition, s.reason, s.paused_at, s.paused_by
from sluice.pause s join sluice.consumer_group g using ("group") left join sluice.topic t using (topic);
comment on view sluice.pauses is 'Sluice: what hands over nothing at present: groups (topic null), topics of a group (partition null), or partitions.';

create view sluice.audits as
select a.audit, a.at, a.who, a.act, a.subject, a.details from sluice.audit a;
comment on view sluice.audits is 'Sluice: who did what: redrive, discard, purge, edit, consume again, reset, shift, clone, pause, resume. Written in the transaction of the act.';
comment on column sluice.audits.who is 'The database user, and what its application calls itself.';
