-- The schema as the migrations make it, rendered from Postgres's own catalog.
-- To be read and reviewed, not run; written by scripts/dump-schema.ts. A test fails when it differs.

-- Schemas

create schema sluice;
create schema sluice_log;
create schema topics;

-- Sequences

create sequence sluice.audit_audit_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.audit.audit
create sequence sluice.claim_number as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1;
create sequence sluice.consumer_group_group_seq as integer increment 1 minvalue 1 maxvalue 2147483647 start 1 cache 1; -- of sluice.consumer_group."group"
create sequence sluice.dead_letter_dead_letter_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.dead_letter.dead_letter
create sequence sluice.delayed_delayed_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.delayed.delayed
create sequence sluice.half_message_half_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.half_message.half
create sequence sluice.held_held_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.held.held
create sequence sluice.lease_lease_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.lease.lease
create sequence sluice.member_member_seq as integer increment 1 minvalue 1 maxvalue 2147483647 start 1 cache 1; -- of sluice.member.member
create sequence sluice.move_move_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.move.move
create sequence sluice.outbox_outbox_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.outbox.outbox
create sequence sluice.pause_pause_seq as integer increment 1 minvalue 1 maxvalue 2147483647 start 1 cache 1; -- of sluice.pause.pause
create sequence sluice.position_position_seq as integer increment 1 minvalue 1 maxvalue 2147483647 start 1 cache 1; -- of sluice."position"."position"
create sequence sluice.producer_number as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1;
create sequence sluice.redriven_redriven_seq as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1; -- of sluice.redriven.redriven
create sequence sluice.schedule_schedule_seq as integer increment 1 minvalue 1 maxvalue 2147483647 start 1 cache 1; -- of sluice.schedule.schedule
create sequence sluice.topic_topic_seq as integer increment 1 minvalue 1 maxvalue 2147483647 start 1 cache 1; -- of sluice.topic.topic

-- Tables

create table sluice.audit (
  audit bigint generated always as identity not null,
  at timestamp with time zone default clock_timestamp() not null,
  who text not null,
  act text not null,
  subject text not null,
  details json not null,
  constraint audit_pkey PRIMARY KEY (audit),
  constraint audit_act_length CHECK (((length(act) >= 1) AND (length(act) <= 60))),
  constraint audit_subject_length CHECK (((length(subject) >= 1) AND (length(subject) <= 400))),
  constraint audit_who_length CHECK (((length(who) >= 1) AND (length(who) <= 400)))
);

create table sluice.consumer_group (
  "group" integer generated always as identity not null,
  name text not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  constraint consumer_group_pkey PRIMARY KEY ("group"),
  constraint consumer_group_name_unique UNIQUE (name),
  constraint consumer_group_name_length CHECK (((length(name) >= 1) AND (length(name) <= 120)))
);

create table sluice.dead_letter (
  dead_letter bigint generated always as identity not null,
  "group" integer not null,
  topic integer not null,
  partition integer not null,
  "offset" bigint not null,
  id text not null,
  key text,
  value text not null,
  headers json not null,
  "timestamp" timestamp with time zone not null,
  reason text not null,
  error text,
  attempts integer not null,
  died_at timestamp with time zone default clock_timestamp() not null,
  redrives integer default 0 not null,
  original_value text,
  original_headers json,
  edited_at timestamp with time zone,
  edited_by text,
  constraint dead_letter_pkey PRIMARY KEY (dead_letter),
  constraint dead_letter_origin_unique UNIQUE ("group", topic, partition, "offset"),
  constraint dead_letter_edit_whole CHECK (((edited_at IS NULL) = (edited_by IS NULL))),
  constraint dead_letter_edited_by_length CHECK ((length(edited_by) <= 400)),
  constraint dead_letter_reason_known CHECK ((reason = ANY (ARRAY['exhausted'::text, 'schema'::text, 'rejected'::text, 'expired'::text]))),
  constraint dead_letter_redrives_range CHECK ((redrives >= 0)),
  constraint dead_letter_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group"),
  constraint dead_letter_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.deduplication (
  topic integer not null,
  message_id text collate "C" not null,
  partition integer not null,
  "offset" bigint not null,
  id text not null,
  expires_at timestamp with time zone not null,
  constraint deduplication_pkey PRIMARY KEY (topic, message_id),
  constraint deduplication_id_length CHECK (((length(id) >= 1) AND (length(id) <= 100))),
  constraint deduplication_message_id_length CHECK (((length(message_id) >= 1) AND (length(message_id) <= 128)))
);

create table sluice.delayed (
  delayed bigint generated always as identity not null,
  due timestamp with time zone not null,
  topic integer not null,
  partition integer not null,
  key text,
  value text not null,
  attributes text,
  queued_at timestamp with time zone default clock_timestamp() not null,
  constraint delayed_pkey PRIMARY KEY (delayed),
  constraint delayed_attributes_form CHECK ((attributes ~~ '{_%}'::text)),
  constraint delayed_attributes_size CHECK ((octet_length(attributes) <= 32768)),
  constraint delayed_due_range CHECK (((due >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (due < '10000-01-01 00:00:00+00'::timestamp with time zone))),
  constraint delayed_key_size CHECK ((octet_length(key) <= 1024)),
  constraint delayed_value_size CHECK ((octet_length(value) <= 1048576))
);

create table sluice.done (
  "position" integer not null,
  "offset" bigint not null,
  constraint done_pkey PRIMARY KEY ("position", "offset")
);

create table sluice.drop_mark (
  topic integer not null,
  partition integer not null,
  below bigint not null,
  dropped bigint not null,
  dropped_at timestamp with time zone default clock_timestamp() not null,
  constraint drop_mark_pkey PRIMARY KEY (topic, partition, below),
  constraint drop_mark_range CHECK (((below > 0) AND (dropped > 0)))
);

create table sluice.duty (
  duty integer not null,
  name text not null,
  epoch bigint default 0 not null,
  owner text,
  since timestamp with time zone default clock_timestamp() not null,
  member integer,
  left_epoch bigint,
  constraint duty_pkey PRIMARY KEY (duty),
  constraint duty_name_unique UNIQUE (name)
) with (fillfactor=50);

create table sluice.group_topic (
  "group" integer not null,
  topic integer not null,
  mode text not null,
  protected boolean default false not null,
  constraint group_topic_pkey PRIMARY KEY ("group", topic),
  constraint group_topic_mode_known CHECK ((mode = ANY (ARRAY['assigned'::text, 'shared'::text, 'broadcast'::text]))),
  constraint group_topic_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group"),
  constraint group_topic_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.guard (
  topic integer not null,
  deduplicate_ms bigint,
  max_depth bigint,
  time_to_live_ms bigint,
  overflow text default 'reject'::text not null,
  constraint guard_pkey PRIMARY KEY (topic),
  constraint guard_deduplicate_range CHECK (((deduplicate_ms >= 1) AND (deduplicate_ms <= 604800000))),
  constraint guard_max_depth_range CHECK (((max_depth >= 1) AND (max_depth <= 1000000000))),
  constraint guard_overflow_bounded CHECK (((overflow = 'reject'::text) OR (max_depth IS NOT NULL))),
  constraint guard_overflow_known CHECK ((overflow = ANY (ARRAY['reject'::text, 'drop-oldest'::text]))),
  constraint guard_time_to_live_positive CHECK ((time_to_live_ms > 0)),
  constraint guard_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.guarded_append (
  producer bigint not null,
  sequence bigint not null,
  answer text not null,
  expires_at timestamp with time zone not null,
  constraint guarded_append_pkey PRIMARY KEY (producer, sequence),
  constraint guarded_append_answer_size CHECK ((octet_length(answer) <= 16777216))
);

create table sluice.half_message (
  half bigint generated always as identity not null,
  topic integer not null,
  partition integer not null,
  key text,
  value text,
  attributes text,
  state text default 'prepared'::text not null,
  check_back text not null,
  timeout_ms bigint not null,
  max_checks integer not null,
  on_undecided text not null,
  checks integer default 0 not null,
  check_at timestamp with time zone not null,
  last_answer text,
  prepared_at timestamp with time zone default clock_timestamp() not null,
  decided_at timestamp with time zone,
  decided_by text,
  message text,
  constraint half_message_pkey PRIMARY KEY (half),
  constraint half_message_attributes_form CHECK ((attributes ~~ '{_%}'::text)),
  constraint half_message_attributes_size CHECK ((octet_length(attributes) <= 32768)),
  constraint half_message_check_back_length CHECK (((length(check_back) >= 1) AND (length(check_back) <= 2000))),
  constraint half_message_committed CHECK (((state = 'committed'::text) = (message IS NOT NULL))),
  constraint half_message_decided_by_known CHECK ((decided_by = ANY (ARRAY['caller'::text, 'check-back'::text, 'limit'::text]))),
  constraint half_message_decision CHECK (((state = ANY (ARRAY['committed'::text, 'rolled-back'::text])) = ((decided_at IS NOT NULL) AND (decided_by IS NOT NULL)))),
  constraint half_message_key_size CHECK ((octet_length(key) <= 1024)),
  constraint half_message_last_answer_length CHECK ((length(last_answer) <= 500)),
  constraint half_message_max_checks_range CHECK (((max_checks >= 1) AND (max_checks <= 1000))),
  constraint half_message_on_undecided_known CHECK ((on_undecided = ANY (ARRAY['keep'::text, 'rollback'::text]))),
  constraint half_message_payload CHECK (((state = ANY (ARRAY['prepared'::text, 'undecided'::text])) = (value IS NOT NULL))),
  constraint half_message_state_known CHECK ((state = ANY (ARRAY['prepared'::text, 'undecided'::text, 'committed'::text, 'rolled-back'::text]))),
  constraint half_message_timeout_range CHECK (((timeout_ms >= 100) AND (timeout_ms <= 604800000))),
  constraint half_message_value_size CHECK ((octet_length(value) <= 1048576))
) with (fillfactor=70);

create table sluice.handed_out (
  "position" integer not null,
  "offset" bigint not null,
  attempt integer not null,
  epoch bigint,
  constraint handed_out_pkey PRIMARY KEY ("position", "offset"),
  constraint handed_out_attempt_range CHECK ((attempt >= 1))
);

create table sluice.held (
  topic integer not null,
  held bigint generated always as identity not null,
  message json not null,
  held_at timestamp with time zone default clock_timestamp() not null,
  constraint held_pkey PRIMARY KEY (topic, held),
  constraint held_message_size CHECK ((octet_length((message)::text) <= 2097152))
);

create table sluice.hours_in_force (
  member integer not null,
  "group" integer not null,
  topic integer not null,
  "window" text,
  open boolean not null,
  concurrency integer not null,
  rate text,
  since timestamp with time zone,
  until timestamp with time zone,
  constraint hours_in_force_pkey PRIMARY KEY (member, "group", topic),
  constraint hours_in_force_rate_length CHECK ((length(rate) <= 120)),
  constraint hours_in_force_window_length CHECK ((length("window") <= 120)),
  constraint hours_in_force_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group") ON DELETE CASCADE,
  constraint hours_in_force_member FOREIGN KEY (member) REFERENCES sluice.member(member) ON DELETE CASCADE,
  constraint hours_in_force_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
) with (fillfactor=50);

create table sluice.idempotence (
  "group" text not null,
  key text collate "C" not null,
  expires_at timestamp with time zone not null,
  constraint idempotence_pkey PRIMARY KEY ("group", key),
  constraint idempotence_group_length CHECK (((length("group") >= 1) AND (length("group") <= 120))),
  constraint idempotence_key_length CHECK (((length(key) >= 1) AND (length(key) <= 512)))
);

create table sluice.lease (
  lease bigint generated always as identity not null,
  "position" integer not null,
  from_offset bigint not null,
  to_offset bigint not null,
  done int8multirange default '{}'::int8multirange not null,
  member integer,
  deliveries smallint default 0 not null,
  leased_at timestamp with time zone default clock_timestamp() not null,
  lease_until timestamp with time zone not null,
  constraint lease_pkey PRIMARY KEY (lease),
  constraint lease_range_unique UNIQUE ("position", to_offset),
  constraint lease_deliveries_check CHECK ((deliveries >= 0)),
  constraint lease_range_check CHECK (((from_offset >= 0) AND (to_offset > from_offset)))
) with (fillfactor=50);

create table sluice.member (
  member integer generated always as identity not null,
  name text not null,
  backend_pid integer not null,
  started_at timestamp with time zone default clock_timestamp() not null,
  lease_until timestamp with time zone not null,
  paused_at timestamp with time zone,
  paused_by text,
  paused_reason text,
  leased boolean default false not null,
  static_id text,
  process text,
  constraint member_pkey PRIMARY KEY (member),
  constraint member_static_id_unique UNIQUE (static_id),
  constraint member_name_length CHECK (((length(name) >= 1) AND (length(name) <= 200))),
  constraint member_pause_whole CHECK (((paused_at IS NULL) = (paused_by IS NULL))),
  constraint member_paused_by_length CHECK ((length(paused_by) <= 400)),
  constraint member_paused_reason_length CHECK ((length(paused_reason) <= 1000)),
  constraint member_process_length CHECK (((length(process) >= 1) AND (length(process) <= 60))),
  constraint member_static_id_length CHECK (((length(static_id) >= 1) AND (length(static_id) <= 60))),
  constraint member_static_whole CHECK (((static_id IS NULL) = (process IS NULL)))
) with (fillfactor=50);

create table sluice.migrations (
  number integer not null,
  name text not null,
  hash text not null,
  breaking boolean not null,
  applied_at timestamp with time zone default clock_timestamp() not null,
  constraint migrations_pkey PRIMARY KEY (number),
  constraint migrations_hash_check CHECK ((hash ~ '^[0-9a-f]{64}$'::text)),
  constraint migrations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
  constraint migrations_number_check CHECK ((number >= 0))
);

create table sluice.move (
  move bigint generated always as identity not null,
  "position" integer,
  duty integer,
  epoch bigint not null,
  member integer,
  from_name text,
  to_name text not null,
  why text not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint move_pkey PRIMARY KEY (move),
  constraint move_name_length CHECK (((length(to_name) <= 200) AND (length(from_name) <= 200))),
  constraint move_of_one CHECK ((("position" IS NULL) <> (duty IS NULL))),
  constraint move_why_known CHECK ((why = ANY (ARRAY['start'::text, 'leave'::text, 'rebalance'::text, 'pause'::text, 'reset'::text, 'restart'::text, 'reconnect'::text, 'crash'::text, 'freeze'::text])))
);

create table sluice.outbox (
  outbox bigint generated always as identity not null,
  xid xid8 default pg_current_xact_id() not null,
  topic integer not null,
  partition integer not null,
  key text,
  value text not null,
  attributes text,
  queued_at timestamp with time zone default clock_timestamp() not null,
  constraint outbox_pkey PRIMARY KEY (xid, outbox),
  constraint outbox_attributes_form CHECK ((attributes ~~ '{_%}'::text)),
  constraint outbox_attributes_size CHECK ((octet_length(attributes) <= 32768)),
  constraint outbox_key_size CHECK ((octet_length(key) <= 1024)),
  constraint outbox_value_size CHECK ((octet_length(value) <= 1048576))
);

create table sluice.pace (
  "group" integer not null,
  topic integer not null,
  key text not null,
  next_at timestamp with time zone not null,
  since timestamp with time zone default '1970-01-01 00:00:00+00'::timestamp with time zone not null,
  constraint pace_pkey PRIMARY KEY ("group", topic, key),
  constraint pace_key_size CHECK ((octet_length(key) <= 1024)),
  constraint pace_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group") ON DELETE CASCADE,
  constraint pace_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
) with (fillfactor=50);

create table sluice.passed_over (
  "position" integer not null,
  dropped bigint default 0 not null,
  counted_to bigint default 0 not null,
  counted int8multirange default '{}'::int8multirange not null,
  constraint passed_over_pkey PRIMARY KEY ("position"),
  constraint passed_over_range CHECK (((dropped >= 0) AND (counted_to >= 0))),
  constraint passed_over_position FOREIGN KEY ("position") REFERENCES sluice."position"("position") ON DELETE CASCADE
) with (fillfactor=50);

create table sluice.pause (
  pause integer generated always as identity not null,
  "group" integer not null,
  topic integer,
  partition integer,
  reason text,
  paused_at timestamp with time zone default clock_timestamp() not null,
  paused_by text not null,
  constraint pause_pkey PRIMARY KEY (pause),
  constraint pause_unique UNIQUE NULLS NOT DISTINCT ("group", topic, partition),
  constraint pause_partition_of_topic CHECK (((partition IS NULL) OR (topic IS NOT NULL))),
  constraint pause_paused_by_length CHECK ((length(paused_by) <= 400)),
  constraint pause_reason_length CHECK ((length(reason) <= 1000)),
  constraint pause_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group"),
  constraint pause_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice."position" (
  "position" integer generated always as identity not null,
  "group" integer not null,
  topic integer not null,
  partition integer not null,
  next_offset bigint not null,
  done_above int8multirange default '{}'::int8multirange not null,
  epoch bigint default 0 not null,
  owner integer,
  committed_at timestamp with time zone default clock_timestamp() not null,
  handed_to bigint default 0 not null,
  suspect_to bigint default 0 not null,
  crashes integer default 0 not null,
  left_why text,
  constraint position_pkey PRIMARY KEY ("position"),
  constraint position_unique UNIQUE ("group", topic, partition),
  constraint position_epoch_range CHECK ((epoch >= 0)),
  constraint position_left_why_known CHECK ((left_why = ANY (ARRAY['leave'::text, 'rebalance'::text, 'pause'::text, 'reset'::text]))),
  constraint position_next_offset_range CHECK ((next_offset >= 0)),
  constraint position_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group"),
  constraint position_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
) with (fillfactor=40);

create table sluice.redriven (
  "position" integer not null,
  redriven bigint generated always as identity not null,
  dead_letter bigint,
  "offset" bigint not null,
  id text not null,
  key text,
  value text not null,
  headers json not null,
  "timestamp" timestamp with time zone not null,
  redrives integer not null,
  attempts integer default 0 not null,
  original_value text,
  original_headers json,
  edited_at timestamp with time zone,
  edited_by text,
  redriven_at timestamp with time zone default clock_timestamp() not null,
  redriven_by text not null,
  due timestamp with time zone default '1970-01-01 00:00:00+00'::timestamp with time zone not null,
  claim bigint,
  member integer,
  lease_until timestamp with time zone,
  constraint redriven_pkey PRIMARY KEY ("position", redriven),
  constraint redriven_origin_unique UNIQUE ("position", "offset"),
  constraint redriven_attempts_range CHECK ((attempts >= 0)),
  constraint redriven_claim_whole CHECK ((((claim IS NULL) = (member IS NULL)) AND ((claim IS NULL) = (lease_until IS NULL)))),
  constraint redriven_redriven_by_length CHECK ((length(redriven_by) <= 400)),
  constraint redriven_position FOREIGN KEY ("position") REFERENCES sluice."position"("position") ON DELETE CASCADE
) with (fillfactor=80);

create table sluice.release (
  "group" integer not null,
  topic integer not null,
  messages integer not null,
  per_ms double precision not null,
  ends bigint[] not null,
  released_at timestamp with time zone default clock_timestamp() not null,
  released_by text not null,
  until timestamp with time zone,
  constraint release_pkey PRIMARY KEY ("group", topic),
  constraint release_messages_range CHECK (((messages >= 1) AND (messages <= 1000000))),
  constraint release_per_range CHECK (((per_ms >= (1)::double precision) AND (per_ms <= (86400000)::double precision))),
  constraint release_released_by_length CHECK ((length(released_by) <= 400)),
  constraint release_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group") ON DELETE CASCADE,
  constraint release_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.reply (
  inbox text collate "C" not null,
  correlation text collate "C" not null,
  value text,
  failure text,
  dropped integer default 0 not null,
  replied_at timestamp with time zone default clock_timestamp() not null,
  expires_at timestamp with time zone not null,
  constraint reply_pkey PRIMARY KEY (inbox, correlation),
  constraint reply_correlation_size CHECK (((octet_length(correlation) >= 1) AND (octet_length(correlation) <= 128))),
  constraint reply_failure_known CHECK ((failure = ANY (ARRAY['exhausted'::text, 'rejected'::text, 'schema'::text, 'expired'::text]))),
  constraint reply_inbox_form CHECK ((inbox ~ '^[A-Za-z0-9._-]{1,50}$'::text)),
  constraint reply_one_outcome CHECK (((value IS NULL) <> (failure IS NULL))),
  constraint reply_value_size CHECK ((octet_length(value) <= 1048576))
);

create table sluice.retry (
  "position" integer not null,
  "offset" bigint not null,
  attempt integer not null,
  due timestamp with time zone,
  blocks text not null,
  id text not null,
  key text,
  value text not null,
  headers json not null,
  "timestamp" timestamp with time zone not null,
  error text not null,
  failed_at timestamp with time zone default clock_timestamp() not null,
  appended_at timestamp with time zone,
  time_to_live_ms bigint,
  constraint retry_pkey PRIMARY KEY ("position", "offset"),
  constraint retry_attempt_range CHECK ((attempt >= 0)),
  constraint retry_blocks_known CHECK ((blocks = ANY (ARRAY['partition'::text, 'key'::text, 'nothing'::text]))),
  constraint retry_time_to_live_range CHECK ((time_to_live_ms > 0))
) with (fillfactor=70);

create table sluice.schedule (
  schedule integer generated always as identity not null,
  name text not null,
  topic integer not null,
  cron text,
  every_ms bigint,
  time_zone text not null,
  key text,
  value text not null,
  headers text not null,
  missed text not null,
  paused boolean default false not null,
  next_at timestamp with time zone,
  last_at timestamp with time zone,
  last_tick timestamp with time zone,
  last_id text,
  revision bigint default 0 not null,
  declared_by text not null,
  declared_at timestamp with time zone default clock_timestamp() not null,
  priority integer default 0 not null,
  constraint schedule_pkey PRIMARY KEY (schedule),
  constraint schedule_name_unique UNIQUE (name),
  constraint schedule_cadence CHECK (((cron IS NULL) <> (every_ms IS NULL))),
  constraint schedule_cron_length CHECK (((length(cron) >= 1) AND (length(cron) <= 200))),
  constraint schedule_declared_by_length CHECK (((length(declared_by) >= 1) AND (length(declared_by) <= 200))),
  constraint schedule_every_range CHECK (((every_ms >= 1000) AND (every_ms <= '31622400000'::bigint))),
  constraint schedule_headers_size CHECK ((octet_length(headers) <= 16384)),
  constraint schedule_key_size CHECK ((octet_length(key) <= 1024)),
  constraint schedule_missed_known CHECK ((missed = ANY (ARRAY['skip'::text, 'once'::text, 'all'::text]))),
  constraint schedule_name_length CHECK (((length(name) >= 1) AND (length(name) <= 120))),
  constraint schedule_priority_range CHECK (((priority >= 0) AND (priority <= 9))),
  constraint schedule_time_zone_length CHECK (((length(time_zone) >= 1) AND (length(time_zone) <= 100))),
  constraint schedule_value_size CHECK ((octet_length(value) <= 1048576)),
  constraint schedule_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.segment (
  topic integer not null,
  segment integer not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  constraint segment_pkey PRIMARY KEY (topic, segment),
  constraint segment_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.segment_start (
  topic integer not null,
  segment integer not null,
  partition integer not null,
  start_offset bigint not null,
  constraint segment_start_pkey PRIMARY KEY (topic, segment, partition),
  constraint segment_start_segment FOREIGN KEY (topic, segment) REFERENCES sluice.segment(topic, segment) ON DELETE CASCADE
);

create table sluice.shared_retry (
  "position" integer not null,
  "offset" bigint not null,
  attempt integer not null,
  due timestamp with time zone not null,
  error text,
  key text,
  claim bigint,
  member integer,
  lease_until timestamp with time zone,
  constraint shared_retry_pkey PRIMARY KEY ("position", "offset"),
  constraint shared_retry_attempt_check CHECK (((attempt >= 0) AND (attempt <= 1001))),
  constraint shared_retry_claim_whole CHECK ((((claim IS NULL) = (member IS NULL)) AND ((claim IS NULL) = (lease_until IS NULL)))),
  constraint shared_retry_error_length CHECK ((length(error) <= 8192)),
  constraint shared_retry_key_length CHECK ((length(key) <= 1024))
) with (fillfactor=70);

create table sluice.subscription (
  member integer not null,
  "group" integer not null,
  topic integer not null,
  single_active boolean default false not null,
  assignment text default 'sticky'::text not null,
  carried boolean default false not null,
  constraint subscription_pkey PRIMARY KEY (member, "group", topic),
  constraint subscription_assignment_known CHECK ((assignment = ANY (ARRAY['sticky'::text, 'range'::text, 'round-robin'::text]))),
  constraint subscription_group FOREIGN KEY ("group") REFERENCES sluice.consumer_group("group"),
  constraint subscription_member FOREIGN KEY (member) REFERENCES sluice.member(member) ON DELETE CASCADE,
  constraint subscription_topic FOREIGN KEY (topic) REFERENCES sluice.topic(topic) ON DELETE CASCADE
);

create table sluice.topic (
  topic integer generated always as identity not null,
  name text not null,
  partitions integer not null,
  encoding text not null,
  compression text not null,
  retention_ms bigint,
  retention_bytes bigint,
  segment_ms bigint not null,
  segment_bytes bigint not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  retention_consumed boolean default false not null,
  priorities integer default 1 not null,
  constraint topic_pkey PRIMARY KEY (topic),
  constraint topic_name_unique UNIQUE (name),
  constraint topic_compression_known CHECK ((compression = ANY (ARRAY['auto'::text, 'pglz'::text, 'none'::text]))),
  constraint topic_encoding_known CHECK ((encoding = ANY (ARRAY['json'::text, 'bytes'::text]))),
  constraint topic_lanes_whole CHECK (((partitions % priorities) = 0)),
  constraint topic_name_form CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'::text)),
  constraint topic_number_range CHECK (((topic >= 1) AND (topic <= 2097151))),
  constraint topic_partitions_range CHECK (((partitions >= 1) AND (partitions <= 1024))),
  constraint topic_priorities_range CHECK (((priorities >= 1) AND (priorities <= 10))),
  constraint topic_retention_positive CHECK (((retention_ms > 0) AND (retention_bytes > 0))),
  constraint topic_segment_positive CHECK (((segment_ms > 0) AND (segment_bytes > 0)))
);

-- Indexes

CREATE INDEX deduplication_expires_at ON sluice.deduplication USING btree (expires_at);
CREATE INDEX delayed_due ON sluice.delayed USING btree (due, delayed);
CREATE INDEX guarded_append_expires_at ON sluice.guarded_append USING btree (expires_at);
CREATE INDEX half_message_decided ON sluice.half_message USING btree (decided_at) WHERE (decided_at IS NOT NULL);
CREATE INDEX half_message_due ON sluice.half_message USING btree (check_at) WHERE (state = 'prepared'::text);
CREATE INDEX idempotence_expires_at ON sluice.idempotence USING btree (expires_at);
CREATE INDEX move_duty ON sluice.move USING btree (duty, move) WHERE (duty IS NOT NULL);
CREATE INDEX move_position ON sluice.move USING btree ("position", move) WHERE ("position" IS NOT NULL);
CREATE INDEX position_topic ON sluice."position" USING btree (topic, partition);
CREATE INDEX redriven_due ON sluice.redriven USING btree ("position", due);
CREATE INDEX reply_expires_at ON sluice.reply USING btree (expires_at);
CREATE INDEX shared_retry_due ON sluice.shared_retry USING btree ("position", due);

-- Views

create view sluice.assignments as
 SELECT g.name AS "group",
    t.name AS topic,
    p.partition,
    m.member,
    m.name AS owner,
    m.static_id,
        CASE
            WHEN (p.owner IS NOT NULL) THEN l.at
            ELSE NULL::timestamp with time zone
        END AS since,
    p.epoch,
    l.why,
    a.assignment,
    sluice.is_owned(p."position") AS held
   FROM ((((((sluice."position" p
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     LEFT JOIN sluice.group_topic gt ON (((gt."group" = p."group") AND (gt.topic = p.topic))))
     LEFT JOIN sluice.member m ON ((m.member = p.owner)))
     LEFT JOIN LATERAL ( SELECT v.at,
            v.why
           FROM sluice.move v
          WHERE (v."position" = p."position")
          ORDER BY v.move DESC
         LIMIT 1) l ON (true))
     LEFT JOIN LATERAL ( SELECT sluice.assignment_in_force(p."group") AS assignment) a ON (true))
  WHERE (COALESCE(gt.mode, 'assigned'::text) = 'assigned'::text);

create view sluice.audits as
 SELECT audit,
    at,
    who,
    act,
    subject,
    details
   FROM sluice.audit a;

create view sluice.dead_letters as
 SELECT d.dead_letter,
    g.name AS "group",
    t.name AS topic,
    d.partition,
    d."offset",
    d.id,
    d.key,
    (d.value)::json AS value,
    d.headers,
    d."timestamp",
    d.reason,
    d.error,
    d.attempts,
    d.died_at,
    d.redrives,
    (d.original_value)::json AS original_value,
    d.original_headers,
    d.edited_at,
    d.edited_by
   FROM ((sluice.dead_letter d
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic));

create view sluice.delayed_messages as
 SELECT t.name AS topic,
    d.partition,
    d.key,
    (d.value)::json AS value,
    COALESCE(((d.attributes)::json -> 'headers'::text), '{}'::json) AS headers,
    d.due,
    ('d-'::text || d.delayed) AS id,
    d.queued_at
   FROM (sluice.delayed d
     JOIN sluice.topic t USING (topic));

create view sluice.drops as
 SELECT g.name AS "group",
    t.name AS topic,
    p.partition,
    m.below AS dropped_below,
    COALESCE(o.dropped, (0)::bigint) AS dropped
   FROM ((((sluice."position" p
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     CROSS JOIN LATERAL ( SELECT sluice.dropped_below(p.topic, p.partition) AS below) m)
     LEFT JOIN sluice.passed_over o ON ((o."position" = p."position")))
  WHERE (m.below IS NOT NULL);

create view sluice.groups as
 SELECT "group",
    topic,
    count(*) AS partitions,
    count(owner) AS owned_partitions,
    count(DISTINCT owner) AS working_members,
    (sum(lag))::bigint AS lag,
    max(oldest_age) AS oldest_age,
    max(committed_at) AS committed_at,
    count(paused_since) AS paused_partitions,
    min(paused_since) AS paused_since,
    (array_agg(paused_by ORDER BY l.paused_since))[1] AS paused_by,
    (array_agg(paused_reason ORDER BY l.paused_since))[1] AS paused_reason
   FROM sluice.lag l
  GROUP BY "group", topic;

create view sluice.guards as
 SELECT t.name AS topic,
    make_interval(secs => (((g.deduplicate_ms)::numeric / 1000.0))::double precision) AS deduplicate,
    make_interval(secs => (((g.time_to_live_ms)::numeric / 1000.0))::double precision) AS time_to_live,
    g.max_depth,
    sluice.depth(t.topic) AS depth,
    ( SELECT count(*) AS count
           FROM sluice.held h
          WHERE (h.topic = t.topic)) AS held,
    g.overflow,
    ( SELECT (COALESCE(sum(m.dropped), (0)::numeric))::bigint AS "coalesce"
           FROM (generate_series(0, (t.partitions - 1)) n(partition)
             CROSS JOIN LATERAL ( SELECT d.dropped
                   FROM sluice.drop_mark d
                  WHERE ((d.topic = t.topic) AND (d.partition = n.partition))
                  ORDER BY d.below DESC
                 LIMIT 1) m)) AS dropped
   FROM (sluice.guard g
     JOIN sluice.topic t USING (topic));

create view sluice.half_messages as
 SELECT h.half,
    t.name AS topic,
    h.partition,
    h.key,
    (h.value)::json AS value,
    ((h.attributes)::json -> 'headers'::text) AS headers,
    h.state,
    h.check_back,
    h.checks,
    h.max_checks,
    h.last_answer,
    h.on_undecided,
    h.prepared_at,
        CASE
            WHEN (h.state = 'prepared'::text) THEN h.check_at
            ELSE NULL::timestamp with time zone
        END AS next_check_at,
    h.decided_at,
    h.decided_by,
    h.message
   FROM (sluice.half_message h
     JOIN sluice.topic t USING (topic));

create view sluice.hours as
 SELECT h.member,
    m.name,
    g.name AS "group",
    t.name AS topic,
    h."window",
    h.open,
    h.concurrency,
    h.rate,
    h.since,
    h.until
   FROM (((sluice.hours_in_force h
     JOIN sluice.member m USING (member))
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
  WHERE (h.member IN ( SELECT sluice.live_members() AS live_members));

create view sluice.idle_members as
 SELECT m.member,
    m.name,
    g.name AS "group",
    t.name AS topic
   FROM ((((sluice.subscription s
     JOIN sluice.member m USING (member))
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     JOIN sluice.group_topic gt ON (((gt."group" = s."group") AND (gt.topic = s.topic) AND (gt.mode = 'assigned'::text))))
  WHERE ((s.member IN ( SELECT sluice.live_members() AS live_members)) AND (NOT (EXISTS ( SELECT
           FROM sluice."position" p
          WHERE ((p."group" = s."group") AND (p.topic = s.topic) AND (p.owner = s.member))))));

create view sluice.lag as
 SELECT g.name AS "group",
    t.name AS topic,
    p.partition,
    p.next_offset AS committed_offset,
    e.end_offset,
    ((e.end_offset - p.next_offset) - (COALESCE(( SELECT sum((upper(r.r) - lower(r.r))) AS sum
           FROM unnest(p.done_above) r(r)), (0)::numeric))::bigint) AS lag,
        CASE
            WHEN (p.next_offset < e.end_offset) THEN (clock_timestamp() - sluice.appended_at(t.topic, p.partition, p.next_offset))
            ELSE NULL::interval
        END AS oldest_age,
    m.name AS owner,
    p.epoch,
    p.committed_at,
    s.paused_at AS paused_since,
    s.paused_by,
    s.reason AS paused_reason,
    (p.partition / (t.partitions / t.priorities)) AS priority
   FROM (((((sluice."position" p
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     LEFT JOIN sluice.member m ON ((m.member = p.owner)))
     CROSS JOIN LATERAL ( SELECT sluice.end_offset(p.topic, p.partition) AS end_offset) e)
     LEFT JOIN LATERAL ( SELECT o.pause,
            o."group",
            o.topic,
            o.partition,
            o.reason,
            o.paused_at,
            o.paused_by
           FROM sluice.pause o
          WHERE ((o."group" = p."group") AND ((o.topic IS NULL) OR (o.topic = p.topic)) AND ((o.partition IS NULL) OR (o.partition = p.partition)))
          ORDER BY o.paused_at
         LIMIT 1) s ON (true));

create view sluice.leader_moves as
 SELECT l.at,
    d.name AS duty,
    l.from_name AS "from",
    l.to_name AS "to",
    l.why,
    l.epoch
   FROM (sluice.move l
     JOIN sluice.duty d USING (duty));

create view sluice.leaders as
 SELECT name AS duty,
    owner,
    epoch,
    since,
    (sluice.is_locked(1936487686, duty) OR sluice.holds_lease(member)) AS held
   FROM sluice.duty d;

create view sluice.members as
 SELECT member,
    name,
    (sluice.is_locked(1936487685, member) OR sluice.holds_lease(member)) AS live,
    ARRAY( SELECT ((g.name || ' ← '::text) || t.name)
           FROM ((sluice.subscription s
             JOIN sluice.consumer_group g USING ("group"))
             JOIN sluice.topic t USING (topic))
          WHERE (s.member = m.member)
          ORDER BY ((g.name || ' ← '::text) || t.name)) AS subscriptions,
    ( SELECT count(*) AS count
           FROM sluice."position" p
          WHERE (p.owner = m.member)) AS partitions,
    NULLIF(backend_pid, 0) AS backend_pid,
    started_at,
    lease_until,
    paused_at AS paused_since,
    paused_by,
    paused_reason,
    static_id
   FROM sluice.member m;

create view sluice.moves as
 SELECT l.at,
    g.name AS "group",
    t.name AS topic,
    p.partition,
    l.from_name AS "from",
    l.to_name AS "to",
    l.why,
    l.epoch
   FROM (((sluice.move l
     JOIN sluice."position" p USING ("position"))
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic));

create view sluice.partitions as
 SELECT t.name AS topic,
    p.partition,
    sluice.start_offset(t.topic, p.partition) AS start_offset,
    e.end_offset,
    e.end_offset AS high_watermark,
    (e.end_offset - sluice.start_offset(t.topic, p.partition)) AS messages,
    (p.partition / (t.partitions / t.priorities)) AS priority
   FROM ((sluice.topic t
     CROSS JOIN LATERAL generate_series(0, (t.partitions - 1)) p(partition))
     CROSS JOIN LATERAL ( SELECT sluice.end_offset(t.topic, p.partition) AS end_offset) e);

create view sluice.pauses as
 SELECT g.name AS "group",
    t.name AS topic,
    s.partition,
    s.reason,
    s.paused_at,
    s.paused_by
   FROM ((sluice.pause s
     JOIN sluice.consumer_group g USING ("group"))
     LEFT JOIN sluice.topic t USING (topic));

create view sluice.pending as
 SELECT g.name AS "group",
    t.name AS topic,
    p.partition,
    l.from_offset,
    l.to_offset,
    ((l.to_offset - l.from_offset) - (COALESCE(( SELECT sum((upper(r.r) - lower(r.r))) AS sum
           FROM unnest(l.done) r(r)), (0)::numeric))::bigint) AS messages,
    m.name AS member,
    l.deliveries,
    l.leased_at,
    l.lease_until,
    l.lease
   FROM ((((sluice.lease l
     JOIN sluice."position" p USING ("position"))
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     LEFT JOIN sluice.member m ON ((m.member = l.member)));

create view sluice.redriven_messages as
 SELECT r.redriven,
    r.dead_letter,
    g.name AS "group",
    t.name AS topic,
    p.partition,
    r."offset",
    r.id,
    r.key,
    (r.value)::json AS value,
    r.headers,
    r."timestamp",
    r.attempts,
    r.redrives,
    r.edited_at,
    r.edited_by,
    r.redriven_at,
    r.redriven_by,
    m.name AS member,
    r.lease_until
   FROM ((((sluice.redriven r
     JOIN sluice."position" p USING ("position"))
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     LEFT JOIN sluice.member m ON ((m.member = r.member)));

create view sluice.releases as
 SELECT g.name AS "group",
    t.name AS topic,
    r.messages,
    make_interval(secs => (r.per_ms / (1000)::double precision)) AS per,
    sluice.release_left(r."group", r.topic, r.ends) AS "left",
    r.released_at,
    r.released_by,
    r.until
   FROM ((sluice.release r
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
  WHERE (((r.until IS NULL) OR (r.until > clock_timestamp())) AND (sluice.release_left(r."group", r.topic, r.ends) > 0));

create view sluice.replies as
 SELECT inbox,
    correlation,
    (value)::json AS value,
    failure,
    dropped,
    replied_at,
    expires_at
   FROM sluice.reply r;

create view sluice.retries as
 SELECT g.name AS "group",
    t.name AS topic,
    p.partition,
    r."offset",
    r.id,
    r.key,
    (r.value)::json AS value,
    r.headers,
    r."timestamp",
    r.attempt,
    r.due,
    (r.due IS NULL) AS in_hand,
    r.blocks,
    r.error,
    r.failed_at
   FROM (((sluice.retry r
     JOIN sluice."position" p USING ("position"))
     JOIN sluice.consumer_group g ON ((g."group" = p."group")))
     JOIN sluice.topic t ON ((t.topic = p.topic)));

create view sluice.schedules as
 SELECT s.name,
    t.name AS topic,
    s.cron,
    ((s.every_ms)::double precision * '00:00:00.001'::interval) AS every,
    s.time_zone,
    s.key,
    (s.value)::json AS value,
    (s.headers)::json AS headers,
    s.missed,
    s.paused,
        CASE
            WHEN (NOT s.paused) THEN s.next_at
            ELSE NULL::timestamp with time zone
        END AS next_run,
    s.last_at AS last_run,
    s.last_tick,
    s.last_id,
    s.declared_by,
    s.declared_at
   FROM (sluice.schedule s
     JOIN sluice.topic t USING (topic));

create view sluice.shared_retries as
 SELECT g.name AS "group",
    t.name AS topic,
    p.partition,
    r."offset",
    r.key,
    r.attempt,
    r.due,
    r.error,
    m.name AS member,
    r.lease_until
   FROM ((((sluice.shared_retry r
     JOIN sluice."position" p USING ("position"))
     JOIN sluice.consumer_group g USING ("group"))
     JOIN sluice.topic t USING (topic))
     LEFT JOIN sluice.member m ON ((m.member = r.member)));

create view sluice.topics as
 SELECT name,
    topic AS number,
    partitions,
    encoding,
    compression,
    make_interval(secs => (((retention_ms)::numeric / 1000.0))::double precision) AS retention_time,
    retention_bytes,
    ( SELECT count(*) AS count
           FROM sluice.segment s
          WHERE (s.topic = t.topic)) AS segments,
    (( SELECT sum(pg_total_relation_size((format('sluice_log.topic_%s_segment_%s'::text, s.topic, s.segment))::regclass)) AS sum
           FROM sluice.segment s
          WHERE (s.topic = t.topic)))::bigint AS size_bytes,
    created_at,
    priorities
   FROM sluice.topic t;

-- Functions

CREATE OR REPLACE FUNCTION sluice.acknowledge_leases(p_leases bigint[], p_positions integer[], p_done text[], p_lease_ms bigint)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
AS $function$
declare
  v record;
begin
  for v in select distinct a.position from unnest(p_positions) a(position) order by 1 loop
    perform pg_advisory_xact_lock_shared(1936487683, v.position);
  end loop;
  perform from sluice.lease l where l.lease = any (p_leases) order by l.lease for update;
  return query
    update sluice.lease l set done = l.done + a.done::int8multirange,
      lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
    from unnest(p_leases, p_done) a(lease, done) where l.lease = a.lease and a.done is not null
    returning l.lease;
  for v in
    with gone as (
      delete from sluice.lease l using unnest(p_leases, p_done) a(lease, done) where l.lease = a.lease and a.done is null
      returning l.lease, l.position, int8range(l.from_offset, l.to_offset) as range)
    select g.position, array_agg(g.lease) as leases, range_agg(g.range) as done from gone g group by g.position order by g.position
  loop
    perform sluice.fold_done(v.position, v.done);
    return query select unnest(v.leases);
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.actor()
 RETURNS text
 LANGUAGE sql
 STABLE
RETURN ((SESSION_USER)::text || COALESCE(((' ('::text || NULLIF(current_setting('application_name'::text, true), ''::text)) || ')'::text), ''::text))
;

CREATE OR REPLACE FUNCTION sluice.admit(p_topic integer, p_messages json)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_answers text[];
begin
  perform pg_advisory_xact_lock(1936487693, p_topic);
  if exists (select from sluice.held h where h.topic = p_topic) then
    v_answers := array_fill('f:0'::text, array[json_array_length(p_messages)]);
  else
    v_answers := sluice.append_alone(p_topic, p_messages);
  end if;
  insert into sluice.held (topic, message)
  select p_topic, m.message
  from json_array_elements(p_messages) with ordinality m(message, number)
  where v_answers[m.number] like 'f:%' order by m.number;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.answer(p_replies json, p_ring boolean)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_reply record;
  v_kept integer := 0;
begin
  for v_reply in
    select r.reply ->> 'inbox' as inbox, r.reply ->> 'correlation' as correlation, (r.reply ->> 'withinMs')::bigint as within_ms,
      (r.reply -> 'value')::text as value, r.reply ->> 'failure' as failure
    from json_array_elements(p_replies) with ordinality as r(reply, number)
    order by r.reply ->> 'inbox' collate "C", r.reply ->> 'correlation' collate "C", r.number
  loop
    if sluice.keep_reply(v_reply.inbox, v_reply.correlation, v_reply.within_ms, v_reply.value, v_reply.failure) then
      v_kept := v_kept + 1;
      if p_ring then perform pg_notify('sluice_inbox_' || v_reply.inbox, v_reply.correlation); end if;
    end if;
  end loop;
  return v_kept;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.append_alone(p_topic integer, p_messages json)
 RETURNS text[]
 LANGUAGE sql
RETURN string_to_array(sluice.append_guarded(p_topic, (SELECT json_agg(json_build_object('p', (m.message -> 'p'::text), 'u', m.number, 'k', (m.message -> 'k'::text), 'v', (m.message -> 'v'::text), 'a', (m.message -> 'a'::text)) ORDER BY m.number) AS json_agg FROM json_array_elements(append_alone.p_messages) WITH ORDINALITY m(message, number)), NULL::bigint, (0)::bigint, current_setting('synchronous_commit'::text), NULL::text), ','::text)
;

CREATE OR REPLACE FUNCTION sluice.append_guarded(p_topic integer, p_messages json, p_producer bigint, p_sequence bigint, p_commit text, p_ring text)
 RETURNS text
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_answer text;
  v_guard sluice.guard%rowtype;
  v_partitions integer[];
  v_units integer[];
  v_message_ids text[];
  v_keys text[];
  v_records text[];
  v_attributes text[];
  v_answers text[];
  v_first integer[];
  v_room bigint;
  v_depth bigint;
  v_from integer := 1;
  v_to integer;
  v_needed integer;
  v_refused boolean;
  v_entries record;
  v_firsts bigint[];
begin
  if pg_advisory_xact_lock(1936487693, p_topic) is null then end if;

  select g.answer into v_answer from sluice.guarded_append g where g.producer = p_producer and g.sequence = p_sequence;
  if found then return v_answer; end if;
  select * into v_guard from sluice.guard g where g.topic = p_topic;
  if v_guard.overflow = 'drop-oldest' then
    -- There is always room, but not for a unit that would have to drop its own beginning.
    v_room := v_guard.max_depth;
  elsif v_guard.max_depth is not null then
    v_room := greatest(v_guard.max_depth - sluice.depth(p_topic), 0);
    -- Nothing fits: what a refusal costs is what overload is made of.
    if v_room = 0 and v_guard.deduplicate_ms is null then
      return repeat('f:0,', json_array_length(p_messages) - 1) || 'f:0';
    end if;
  end if;

  select array_agg((m.message ->> 'p')::integer order by m.number), array_agg((m.message ->> 'u')::integer order by m.number),
    array_agg(coalesce(m.message ->> 'i', m.message -> 'a' ->> 'messageId') order by m.number),
    array_agg(m.message ->> 'k' order by m.number),
    array_agg((m.message -> 'v')::text order by m.number),
    array_agg(nullif((m.message -> 'a')::text, 'null') order by m.number)
  into v_partitions, v_units, v_message_ids, v_keys, v_records, v_attributes
  from json_array_elements(p_messages) with ordinality m(message, number);

  -- What is there already, and what this call holds twice: then the first of them counts.
  if v_guard.deduplicate_ms is null then
    v_message_ids := array_fill(null::text, array[cardinality(v_partitions)]);
    v_answers := v_message_ids;
  else
    select array_agg('d:' || d.partition || ':' || d."offset" || ':' || d.id order by e.number),
      array_agg(case when e.message_id is not null then e.first end order by e.number)
    into v_answers, v_first
    from (
      select u.message_id, u.number::integer, (min(u.number) over (partition by u.message_id))::integer as first
      from unnest(v_message_ids) with ordinality u(message_id, number)
    ) e
    left join lateral (select k.* from sluice.deduplication k
      where k.topic = p_topic and k.message_id = e.message_id and k.expires_at > clock_timestamp() limit 1) d on true;
  end if;

  if v_room is not null then
    -- Unit by unit. One that repeats a message of this call that was refused is refused with it.
    while v_from <= cardinality(v_units) loop
      v_to := v_from;
      v_needed := 0;
      v_refused := false;
      while v_to <= cardinality(v_units) and v_units[v_to] = v_units[v_from] loop
        if v_answers[v_to] is null then
          if coalesce(v_first[v_to], v_to) = v_to then v_needed := v_needed + 1;
          elsif v_answers[v_first[v_to]] like 'f:%' then v_refused := true;
          end if;
        end if;
        v_to := v_to + 1;
      end loop;
      if v_refused or v_needed > v_room then
        for i in v_from .. v_to - 1 loop v_answers[i] := 'f:' || v_room; end loop;
      elsif v_guard.overflow = 'reject' then
        v_room := v_room - v_needed;
      end if;
      v_from := v_to;
    end loop;
  end if;

  select array_agg(b.partition order by b.partition) as partitions, array_agg(b.count order by b.partition) as counts,
    case when bool_or(b.has_keys) then string_agg(b.keys, repeat(E'\x1e', 32) order by b.partition) end as keys,
    string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
    case when bool_or(b.has_attributes) then string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) end as attributes
  into v_entries
  from (
    select e.partition, count(*)::integer as count, count(e.key) > 0 as has_keys, count(e.attributes) > 0 as has_attributes,
      '[' || string_agg(coalesce(to_json(e.key)::text, 'null'), ',' order by e.number) || ']' as keys,
      '[' || string_agg(e.record, ',' order by e.number) || ']' as records,
      '[' || string_agg(coalesce(e.attributes, 'null'), ',' order by e.number) || ']' as attributes
    from rows from (unnest(v_partitions), unnest(v_keys), unnest(v_records), unnest(v_attributes), unnest(v_answers), unnest(v_first))
      with ordinality e(partition, key, record, attributes, answer, first, number)
    where e.answer is null and coalesce(e.first, e.number) = e.number
    group by e.partition
  ) b;

  if v_entries.partitions is not null then
    execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, $6, $7, false, $8, $9)', p_topic) into v_firsts
      using v_entries.partitions, v_entries.counts, v_entries.keys, v_entries.records, v_entries.attributes,
        p_producer, p_sequence, p_commit, p_ring;
    -- Numbered as the append numbers them: partition after partition.
    with appended as (
      select e.number, 'a:' || e.partition || ':' ||
        v_firsts[array_position(v_entries.partitions, e.partition)] + row_number() over (partition by e.partition order by e.number) - 1 || ':' ||
        coalesce(e.attributes::json ->> 'id', p_producer || '-' || p_sequence + row_number() over (order by e.partition, e.number) - 1) as answer
      from rows from (unnest(v_partitions), unnest(v_attributes), unnest(v_answers), unnest(v_first))
        with ordinality e(partition, attributes, answer, first, number)
      where e.answer is null and coalesce(e.first, e.number) = e.number)
    select array_agg(coalesce(e.answer, a.answer) order by e.number) into v_answers
    from unnest(v_answers) with ordinality e(answer, number) left join appended a using (number);

    if v_guard.overflow = 'drop-oldest' then
      v_depth := sluice.depth(p_topic);
      if v_depth > v_guard.max_depth then
        perform sluice.make_room(p_topic, v_depth, v_depth - v_guard.max_depth, v_answers);
      end if;
    end if;

    if v_guard.deduplicate_ms is not null then
      insert into sluice.deduplication as d (topic, message_id, partition, "offset", id, expires_at)
      select p_topic, e.message_id, split_part(e.answer, ':', 2)::integer, split_part(e.answer, ':', 3)::bigint, split_part(e.answer, ':', 4),
        clock_timestamp() + make_interval(secs => v_guard.deduplicate_ms / 1000.0)
      from rows from (unnest(v_message_ids), unnest(v_answers)) e(message_id, answer)
      where e.message_id is not null and e.answer like 'a:%'
      on conflict on constraint deduplication_pkey do update set
        partition = excluded.partition, "offset" = excluded."offset", id = excluded.id, expires_at = excluded.expires_at;
    end if;
  end if;

  select string_agg(coalesce(e.answer, 'd' || substr(v_answers[e.first], 2)), ',' order by e.number) into v_answer
  from rows from (unnest(v_answers), unnest(v_first)) with ordinality e(answer, first, number);
  if v_firsts is not null and p_producer is not null then
    insert into sluice.guarded_append (producer, sequence, answer, expires_at)
    values (p_producer, p_sequence, v_answer, clock_timestamp() + interval '1 hour');
  end if;
  return v_answer;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.append_guarded_again(p_topic integer, p_messages json, p_producer bigint, p_sequence bigint, p_commit text, p_ring text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_answer text := sluice.append_guarded(p_topic, p_messages, p_producer, p_sequence, p_commit, p_ring);
begin
  insert into sluice.guarded_append (producer, sequence, answer, expires_at)
  values (p_producer, p_sequence, v_answer, clock_timestamp() + interval '1 hour')
  on conflict on constraint guarded_append_pkey do nothing;
  return v_answer;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.append_guarded_within(p_topic integer, p_messages json, p_ring text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_guard sluice.guard%rowtype;
  v_answer text;
begin
  select * into v_guard from sluice.guard g where g.topic = p_topic;
  if json_array_length(p_messages) > v_guard.max_depth and v_guard.overflow = 'reject' then
    raise exception 'sluice: % messages of one transaction are more than topic % may ever hold', json_array_length(p_messages), p_topic
      using errcode = 'SL017';
  end if;
  v_answer := sluice.append_guarded(p_topic,
    (select json_agg(json_build_object('p', m.message -> 'p', 'u', case v_guard.overflow when 'drop-oldest' then m.number else 0 end,
      'k', m.message -> 'k', 'v', m.message -> 'v', 'a', m.message -> 'a') order by m.number)
      from json_array_elements(p_messages) with ordinality m(message, number)),
    null, 0, 'on', p_ring);
  if v_answer ~ '(^|,)f:' then
    raise exception 'sluice: topic % is full', p_topic using errcode = 'SL016';
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.append_within(p_topic integer, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text, p_ring text)
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
declare
  v_firsts bigint[];
begin
  execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, ''on'', $6)', p_topic) into v_firsts
    using p_partitions, p_counts, p_keys, p_records, p_attributes, p_ring;
  return v_firsts;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.appended_at(p_topic integer, p_partition integer, p_offset bigint)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 STABLE
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.assert_duty(p_duty integer, p_epoch bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock_shared(1936487687, p_duty);
  if not exists (select from sluice.duty where duty = p_duty and epoch = p_epoch) then
    raise exception 'sluice: another process has taken duty % over', p_duty using errcode = 'SL001';
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.assignment_in_force(p_group integer)
 RETURNS text
 LANGUAGE sql
 STABLE
RETURN (SELECT s.assignment FROM (sluice.subscription s JOIN sluice.member m USING (member)) WHERE ((s."group" = assignment_in_force.p_group) AND (m.paused_at IS NULL) AND ((m.member IN (SELECT sluice.live_members() AS live_members)) OR sluice.is_awaited(m.static_id, m.lease_until))) ORDER BY m.member, s.topic LIMIT 1)
;

CREATE OR REPLACE FUNCTION sluice.begin_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[])
 RETURNS TABLE(number integer, epoch_holds boolean, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision, error text, appended_ms double precision, time_to_live_ms double precision)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.begin_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[], p_attempts integer[])
 RETURNS TABLE(number integer, epoch_holds boolean, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision, error text, appended_ms double precision, time_to_live_ms double precision)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select a.number::integer, a.position, a."offset", a.attempt,
        exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch) as epoch_holds
      from unnest(p_positions, p_epochs, p_offsets, p_attempts) with ordinality as a(position, epoch, "offset", attempt, number)),
    begun as (
      update sluice.retry r set attempt = least(a.attempt, r.attempt + 1), due = null
      from asked a where a.epoch_holds and r.position = a.position and r."offset" = a."offset"
      returning a.number, r.*)
    select a.number, a.epoch_holds, b.attempt, b.id, b.key, b.value, b.headers::text,
      (extract(epoch from b."timestamp") * 1000)::double precision, b.error,
      (extract(epoch from coalesce(b.appended_at, b.failed_at)) * 1000)::double precision, b.time_to_live_ms::double precision
    from asked a left join begun b using (number)
    where not a.epoch_holds or b.number is not null;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.begin_redriven(p_position integer, p_epoch bigint, p_redriven bigint)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_attempts integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  if not exists (select from sluice.position where position = p_position and epoch = p_epoch) then return -1; end if;
  update sluice.redriven set attempts = attempts + 1 where position = p_position and redriven = p_redriven
  returning attempts into v_attempts;
  return coalesce(v_attempts, 0);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.begin_redriven(p_position integer, p_epoch bigint, p_redriven bigint, p_attempt integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_attempts integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  if not exists (select from sluice.position where position = p_position and epoch = p_epoch) then return -1; end if;
  update sluice.redriven set attempts = least(p_attempt, attempts + 1) where position = p_position and redriven = p_redriven
  returning attempts into v_attempts;
  return coalesce(v_attempts, 0);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.begin_retries(p_position integer, p_epoch bigint, p_offsets bigint[])
 RETURNS TABLE(epoch_holds boolean, "offset" bigint, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision, error text)
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position p where p.position = p_position and p.epoch = p_epoch;
  if not found then
    epoch_holds := false;
    return next;
    return;
  end if;
  return query
    update sluice.retry r set attempt = r.attempt + 1, due = null
    where r.position = p_position and r."offset" = any (p_offsets)
    returning true, r."offset", r.attempt, r.id, r.key, r.value, r.headers::text, (extract(epoch from r."timestamp") * 1000)::double precision, r.error;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.bury(p_position integer, p_epoch bigint, p_letter json)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_offset constant bigint := (p_letter ->> 'offset')::bigint;
  v_next bigint;
  v_is_kept boolean;
  v_is_marked boolean := false;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select p.next_offset into v_next from sluice.position p where p.position = p_position and p.epoch = p_epoch for share;
  if not found then return 'fenced'; end if;
  delete from sluice.retry r where r.position = p_position and r."offset" = v_offset;
  v_is_kept := found;
  if v_offset >= v_next then
    insert into sluice.done (position, "offset") values (p_position, v_offset) on conflict do nothing;
    v_is_marked := found;
  end if;
  if not (v_is_kept or v_is_marked) then return 'already'; end if;
  insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
  select l."group", l.topic, l.partition, l."offset", l.id, l.key, l.value, l.headers, to_timestamp(l.timestamp_ms / 1000), l.reason, l.error, l.attempts
  from json_to_record(p_letter) as l(
    "group" integer, topic integer, partition integer, "offset" bigint, id text, key text, value text, headers json,
    timestamp_ms double precision, reason text, error text, attempts integer)
  on conflict ("group", topic, partition, "offset") do nothing;
  return 'buried';
end $function$
;

CREATE OR REPLACE FUNCTION sluice.bury_claimed(p_position integer, p_offset bigint, p_claim bigint, p_reason text, p_error text, p_attempts integer)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_redriven bigint;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select r.redriven into v_redriven from sluice.redriven r
  where r.position = p_position and r."offset" = p_offset and r.claim = p_claim for update;
  if not found then return 'already'; end if;
  return sluice.bury_redriven(p_position, (select p.epoch from sluice.position p where p.position = p_position), v_redriven,
    p_reason, p_error, p_attempts);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.bury_redriven(p_position integer, p_epoch bigint, p_redriven bigint, p_reason text, p_error text, p_attempts integer)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.claim_halves(p_names text[], p_origins text[], p_limit integer, p_lease_ms bigint)
 RETURNS TABLE(half bigint, topic text, partition integer, key text, value text, headers text, check_back text, checks integer, prepared_at_ms bigint)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.claim_key(p_group text, p_key text, p_keep_ms bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  insert into sluice.idempotence ("group", key, expires_at)
  values (p_group, p_key, clock_timestamp() + make_interval(secs => p_keep_ms / 1000.0))
  on conflict on constraint idempotence_pkey do nothing;
  return found;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.claim_member(p_static_id text, p_process text, p_name text, p_backend_pid integer, p_lease_ms bigint, p_again boolean, p_leased boolean)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_before record;
  v_member integer;
begin
  loop
    select m.member, m.process, m.name into v_before from sluice.member m where m.static_id = p_static_id for update;
    if p_again and v_before.process <> p_process then
      raise exception 'sluice: % runs as member % by now, so this process is fenced and consumes no more', v_before.name,
        quote_literal(p_static_id)
        using errcode = 'SL035', hint = 'Two processes must not have the same member name. Give each its own.';
    end if;
    begin
      update sluice.member m set static_id = null, process = null where m.member = v_before.member;
      insert into sluice.member (name, backend_pid, lease_until, leased, static_id, process)
      values (p_name, p_backend_pid, clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000), p_leased, p_static_id, p_process)
      returning member into v_member;
      exit;
    exception when unique_violation then
      -- Another process was quicker, for the first time: now it is the one before.
      null;
    end;
  end loop;
  if v_before.member is null then return v_member; end if;
  update sluice.subscription s set member = v_member, carried = true where s.member = v_before.member;
  perform from sluice.position p where p.owner = v_before.member order by p.position for update;
  update sluice.position p set owner = v_member where p.owner = v_before.member;
  delete from sluice.member m where m.member = v_before.member;
  begin
    perform pg_terminate_backend(l.pid) from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1936487685 and l.objid = v_before.member::oid and l.objsubid = 2 and l.granted
      and l.database = (select oid from pg_database where datname = current_database());
  exception when insufficient_privilege then
    -- It is another role's. Then it finds with its next heartbeat that it is no member any more.
    raise debug 'sluice: the session of member % is not this role''s to end', v_before.member;
  end;
  return v_member;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.claim_redriven(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
 RETURNS SETOF sluice.redriven
 LANGUAGE sql
AS $function$
  with due as (
    select r.position, r.redriven from sluice.redriven r
    where r.position = any (p_positions) and r.due <= clock_timestamp()
      and (r.member is null or (r.member <> p_member and r.member not in (select sluice.live_members()))
        or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms))
    order by r.due, r."offset" limit p_most for update skip locked)
  update sluice.redriven r set attempts = r.attempts + case when r.member = p_member then 0 else 1 end,
    claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r.redriven = due.redriven
  returning r.*
$function$
;

CREATE OR REPLACE FUNCTION sluice.claim_retries(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
 RETURNS TABLE("position" integer, "offset" bigint, attempt integer, claim bigint)
 LANGUAGE sql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
  with found as (
    select f.position, f."offset" from unnest(p_positions) as p(position)
    cross join lateral (
      select r.position, r."offset", r.due from sluice.shared_retry r
      -- (A subquery, because the index cannot be searched for a clock that goes on.)
      where r.position = p.position and r.due <= (select clock_timestamp())
        and (r.member is null or (r.member <> p_member and r.member not in (select sluice.live_members()))
          or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms))
      order by r.due limit p_most) f
    order by f.due limit p_most),
  due as (
    select r.position, r."offset" from found f
    join sluice.shared_retry r on r.position = f.position and r."offset" = f."offset"
    -- Another may have been quicker.
    where r.member is null or (r.member <> p_member and r.member not in (select sluice.live_members()))
      or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms)
    for update of r skip locked)
  update sluice.shared_retry r set attempt = r.attempt + case when r.member = p_member then 0 else 1 end,
    claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r."offset" = due."offset"
  returning r.position, r."offset", r.attempt, r.claim
$function$
;

CREATE OR REPLACE FUNCTION sluice.clone_group("from" text, "to" text, dry_run boolean DEFAULT false, force boolean DEFAULT false)
 RETURNS TABLE(topic text, partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.commit_half(half bigint, decided_by text DEFAULT 'caller'::text)
 RETURNS TABLE(outcome text, decided boolean, message text)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.commit_positions(p_positions integer[], p_epochs bigint[], p_next_offsets bigint[], p_done_above text[])
 RETURNS SETOF integer
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.commit_positions(p_positions integer[], p_epochs bigint[], p_next_offsets bigint[], p_done_above text[], p_handed_to bigint[])
 RETURNS SETOF integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS $function$
declare
  v_from bigint;
begin
  for i in 1 .. cardinality(p_positions) loop
    perform pg_advisory_xact_lock_shared(1936487683, p_positions[i]);
    v_from := (select p.next_offset from sluice.position p where p.position = p_positions[i]);
    update sluice.position p set
      next_offset = p_next_offsets[i], done_above = p_done_above[i]::int8multirange, handed_to = p_handed_to[i],
      committed_at = clock_timestamp()
    where p.position = p_positions[i] and p.epoch = p_epochs[i] and p.next_offset <= p_next_offsets[i];
    if found then
      delete from sluice.done d where d.position = p_positions[i] and d."offset" >= v_from and d."offset" < p_next_offsets[i];
      delete from sluice.handed_out h where h.position = p_positions[i] and h."offset" < p_next_offsets[i];
      return next p_positions[i];
    end if;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.consume_again("group" text, topic text, partition integer, "offset" bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.count_attempts(p_positions integer[], p_epochs bigint[], p_offsets bigint[], p_attempts integer[])
 RETURNS TABLE(number integer, outcome text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
declare
  v_counted integer;
begin
  perform sluice.hold_fences(p_positions);
  update sluice.retry r set attempt = a.attempt, due = null
  from unnest(p_positions, p_epochs, p_offsets, p_attempts) as a(position, epoch, "offset", attempt)
  where r.position = a.position and r."offset" = a."offset"
    and exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch);
  get diagnostics v_counted = row_count;
  if v_counted = cardinality(p_offsets) then return; end if;
  return query
    select a.number::integer, case when h.holds then 'gone' else 'fenced' end
    from unnest(p_positions, p_epochs, p_offsets) with ordinality as a(position, epoch, "offset", number)
    cross join lateral (
      select exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch) as holds) h
    where not h.holds
      or not exists (select from sluice.retry r where r.position = a.position and r."offset" = a."offset");
end $function$
;

CREATE OR REPLACE FUNCTION sluice.count_dropped(p_position integer, p_ranges int8multirange)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  v_next bigint := (select p.next_offset from sluice.position p where p.position = p_position);
  v_row sluice.passed_over%rowtype;
  v_new int8multirange;
  v_count bigint;
begin
  insert into sluice.passed_over (position) values (p_position) on conflict on constraint passed_over_pkey do nothing;
  select * into v_row from sluice.passed_over o where o.position = p_position for update;
  v_new := p_ranges * int8multirange(int8range(v_row.counted_to, null)) - v_row.counted;
  v_count := coalesce((select sum(upper(r) - lower(r)) from unnest(v_new) r), 0);
  update sluice.passed_over o set
    dropped = o.dropped + v_count, counted_to = greatest(o.counted_to, v_next),
    counted = o.counted + v_new - int8multirange(int8range(null, greatest(o.counted_to, v_next)))
  where o.position = p_position;
  return v_count;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.create_append_function(p_topic integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_segment integer := (select max(segment) from sluice.segment where topic = p_topic);
  v_created timestamptz := (select created_at from sluice.segment where topic = p_topic and segment = v_segment);
  v_body text := $template$
declare
  v_entries integer := cardinality(p_partitions);
  v_first bigint;
  v_firsts bigint[];
  v_found bigint;
  v_founds bigint[];
  v_sequence bigint := p_sequence;
  v_separator constant text := repeat(E'\x1e', 32);
  v_sequences bigint[];
  v_oldest integer;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'sluice: an append must run at READ COMMITTED, not %', current_setting('transaction_isolation')
      using errcode = '25001', hint = 'Use sluice.send(), which writes to the outbox, inside a transaction of another isolation level.';
  end if;
  if current_setting('synchronous_commit') <> p_commit then
    perform set_config('synchronous_commit', p_commit, true);
  end if;

  -- One by one and in this order. (An IF, because it evaluates the call as it is; PERFORM would run a query.)
  for i in 1 .. v_entries loop
    if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
      raise exception 'sluice: partitions of one append must ascend' using errcode = '22023';
    end if;
    if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partitions[i]) is null then end if;
    v_sequences[i] := v_sequence;
    v_sequence := v_sequence + p_counts[i];
  end loop;

  -- Statements from here on see everything that was committed before the locks were had.
  select array_agg(last.end_offset order by e.number), max(last.end_offset) into v_firsts, v_first
  from unnest(p_partitions) with ordinality e(partition, number)
  left join lateral (
    select b.base_offset + b.count as end_offset from sluice_log.topic_{topic}_segment_{segment} b
    where b.partition = e.partition order by b.base_offset desc limit 1) last on true;

  if v_first >= {seal} then
    -- The segment was closed while this call waited for its lock. The function now stands for the new one: call that, as a
    -- repeat, because what this producer wrote may be in a segment before.
    execute 'select sluice_log.append_{topic}($1, $2, $3, $4, $5, $6, $7, true, $8, $9)' into v_firsts
      using p_partitions, p_counts, p_keys, p_records, p_attributes, p_producer, p_sequence, p_commit, p_ring;
    return v_firsts;
  end if;

  if array_position(v_firsts, null) is not null then
    -- Nothing in this segment yet: it begins where the one before ended.
    for i in 1 .. v_entries loop
      if v_firsts[i] is null then
        select s.start_offset into v_first from sluice.segment_start s
          where s.topic = {topic} and s.segment = {segment} and s.partition = p_partitions[i];
        if not found then
          raise exception 'sluice: topic {topic} has no partition %', p_partitions[i] using errcode = '22023';
        end if;
        v_firsts[i] := v_first;
      end if;
    end loop;
  end if;

  if p_repeat or clock_timestamp() < '{young_until}' then
    -- Producers try for ten minutes at most, so the first try is in a segment that was appended to within fifteen.
    v_oldest := coalesce((select max(s.segment) from sluice.segment s
      where s.topic = {topic} and s.created_at < clock_timestamp() - interval '15 minutes'), 0);
    for i in 1 .. v_entries loop
      select b.base_offset into v_found from sluice_log.topic_{topic} b
        where b.segment >= v_oldest and b.producer = p_producer and b.sequence = v_sequences[i];
      v_founds := v_founds || v_found;
    end loop;
  end if;

  insert into sluice_log.topic_{topic}_segment_{segment}
    (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
  select {segment}, e.partition, e.first, e.count, clock_timestamp(), p_producer, e.sequence, e.keys, e.records, e.attributes
  from rows from (
    unnest(p_partitions), unnest(v_firsts), unnest(p_counts), unnest(v_sequences), unnest(v_founds),
    unnest(string_to_array(p_keys, v_separator)), unnest(string_to_array(p_records, v_separator)),
    unnest(string_to_array(p_attributes, v_separator))
  ) e(partition, first, count, sequence, found, keys, records, attributes)
  where e.found is null;
  if p_ring is not null then
    perform pg_notify('sluice', p_ring);
  end if;
  if v_founds is not null then
    select array_agg(coalesce(r.found, r.first) order by r.number) into v_firsts
    from unnest(v_founds, v_firsts) with ordinality r(found, first, number);
  end if;
  return v_firsts;
end $template$;
  v_one text := $template$
declare
  v_first bigint;
  v_follows boolean;
begin
  -- One expression, evaluated from left to right as it stands: the lock before the statement that looks for the last batch.
  if current_setting('transaction_isolation') = 'read committed'
    and (current_setting('synchronous_commit') = p_commit or set_config('synchronous_commit', p_commit, true) is not null)
    and pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partition) is not null
  then
    select b.base_offset + b.count, {follows} into v_first, v_follows from sluice_log.topic_{topic}_segment_{segment} b
      where b.partition = p_partition order by b.base_offset desc limit 1;
    -- (A comparison with null is not true: a segment without a batch of this partition is not an ordinary case either.)
    if v_first < {seal} and v_follows and not p_repeat and clock_timestamp() >= '{young_until}' then
      insert into sluice_log.topic_{topic}_segment_{segment}
        (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
      values
        ({segment}, p_partition, v_first, p_count, clock_timestamp(), p_producer, p_sequence, p_keys, p_records, p_attributes);
      if p_ring is not null then
        perform pg_notify('sluice', p_ring);
      end if;
      return v_first;
    end if;
  end if;
  return (sluice_log.{otherwise}array[p_partition], array[p_count], p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring))[1];
end $template$;
  v_hinted text := $template$
declare
  v_first bigint;
  v_firsts bigint[];
  v_sequence bigint := p_sequence;
  v_sequences bigint[];
  v_follows boolean;
  v_separator constant text := repeat(E'\x1e', 32);
begin
  if current_setting('transaction_isolation') = 'read committed' and not p_repeat and clock_timestamp() >= '{young_until}'
    and (current_setting('synchronous_commit') = p_commit or set_config('synchronous_commit', p_commit, true) is not null)
  then
    for i in 1 .. cardinality(p_partitions) loop
      if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
        raise exception 'sluice: partitions of one append must ascend' using errcode = '22023';
      end if;
      if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partitions[i]) is null then end if;
      v_sequences[i] := v_sequence;
      v_sequence := v_sequence + p_counts[i];
    end loop;
    select array_agg(last.end_offset order by e.number), max(last.end_offset), bool_or(last.follows) into v_firsts, v_first, v_follows
    from unnest(p_partitions, p_hints) with ordinality e(partition, hint, number)
    left join lateral (
      select b.base_offset + b.count as end_offset, {follows} as follows from sluice_log.topic_{topic}_segment_{segment} b
      where b.partition = e.partition and b.base_offset >= e.hint order by b.base_offset desc limit 1) last on true;
    if v_first < {seal} and v_follows and array_position(v_firsts, null) is null then
      insert into sluice_log.topic_{topic}_segment_{segment}
        (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
      select {segment}, e.partition, e.first, e.count, clock_timestamp(), p_producer, e.sequence, e.keys, e.records, e.attributes
      from rows from (
        unnest(p_partitions), unnest(v_firsts), unnest(p_counts), unnest(v_sequences), unnest(string_to_array(p_keys, v_separator)),
        unnest(string_to_array(p_records, v_separator)), unnest(string_to_array(p_attributes, v_separator))
      ) e(partition, first, count, sequence, keys, records, attributes);
      if p_ring is not null then
        perform pg_notify('sluice', p_ring);
      end if;
      return v_firsts;
    end if;
  end if;
  return sluice_log.{otherwise}p_partitions, p_counts, p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring);
end $template$;
  v_after text := $template$
declare
  v_oldest integer;
begin
  -- The same locks in the same order; to have them twice is to have them.
  for i in 1 .. cardinality(p_partitions) loop
    if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
      raise exception 'sluice: partitions of one append must ascend' using errcode = '22023';
    end if;
    if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partitions[i]) is null then end if;
  end loop;
  -- In the segment that is appended to, or, when it is new, in one that was within fifteen minutes.
  if not exists (select from sluice_log.topic_{topic}_segment_{segment} b where b.producer = p_producer and b.sequence = p_after) then
    v_oldest := coalesce((select max(s.segment) from sluice.segment s
      where s.topic = {topic} and s.created_at < clock_timestamp() - interval '15 minutes'), 0);
    if not exists (
      select from sluice_log.topic_{topic} b where b.segment >= v_oldest and b.producer = p_producer and b.sequence = p_after
    ) then
      raise exception 'sluice: sequence % of producer % is not in the log', p_after, p_producer using errcode = 'SL002',
        hint = 'Nothing was appended. Append again when it is known what became of that sequence.';
    end if;
  end if;
  return sluice_log.append_{topic}(p_partitions, p_counts, p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring);
end $template$;
  v_bodies text[] := '{}';
  v_function text;
  v_is_after boolean;
  v_name text;
  v_first text;
  v_follows text;
  v_otherwise text;
begin
  foreach v_body in array array[v_body, v_after, v_one, v_hinted] loop
    v_body := replace(v_body, '{topic}', p_topic::text);
    v_body := replace(v_body, '{segment}', v_segment::text);
    v_body := replace(v_body, '{seal}', '4611686018427387904');
    -- A first try that the network held back may arrive after the segment rolled, so a young segment looks back as well.
    v_body := replace(v_body, '{young_until}',
      case when v_segment = 0 then '-infinity' else (v_created + interval '15 minutes')::text end);
    v_bodies := v_bodies || v_body;
  end loop;
  execute format('create or replace function sluice_log.append_%s(
      p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text,
      p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
    returns bigint[] language plpgsql volatile set plan_cache_mode = force_generic_plan as %L', p_topic, v_bodies[1]);
  execute format('create or replace function sluice_log.append_after_%s(
      p_after bigint, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text,
      p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
    returns bigint[] language plpgsql volatile as %L', p_topic, v_bodies[2]);
  foreach v_is_after in array array[false, true] loop
    v_name := case when v_is_after then 'append_after_' else 'append_' end || p_topic;
    v_first := case when v_is_after then 'p_after bigint, ' else '' end;
    v_follows := case when v_is_after then 'b.producer = p_producer and b.sequence = p_after' else 'true' end;
    v_otherwise := v_name || case when v_is_after then '(p_after, ' else '(' end;
    execute format('create or replace function sluice_log.%s(
        %sp_partition integer, p_count integer, p_keys text, p_records text, p_attributes text,
        p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
      returns bigint language plpgsql volatile as %L',
      v_name, v_first, replace(replace(v_bodies[3], '{follows}', v_follows), '{otherwise}', v_otherwise));
    execute format('create or replace function sluice_log.%s(
        %sp_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text,
        p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text, p_hints bigint[])
      returns bigint[] language plpgsql volatile set plan_cache_mode = force_generic_plan as %L',
      v_name, v_first, replace(replace(v_bodies[4], '{follows}', v_follows), '{otherwise}', v_otherwise));
  end loop;
  for v_function in select oid::regprocedure::text from pg_proc
    where pronamespace = 'sluice_log'::regnamespace and proname in (format('append_%s', p_topic), format('append_after_%s', p_topic))
  loop
    execute format('comment on function %s is %L', v_function,
      format('Sluice: appends to topic %s, segment %s. Generated by sluice.create_append_function.', p_topic, v_segment));
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.create_depth_function(p_topic integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_segment integer := (select max(segment) from sluice.segment where topic = p_topic);
begin
  execute format('create or replace function sluice_log.depth_%1$s() returns bigint language plpgsql stable as %2$L', p_topic,
    format($template$begin
  if exists (select from sluice.segment where topic = %1$s and segment > %2$s) then return null; end if;
  return (%3$s);
end$template$, p_topic, v_segment, sluice.depth_statement(p_topic, v_segment)));
  execute format('comment on function sluice_log.depth_%s() is %L', p_topic,
    format('Sluice: how many messages of topic %s wait. Generated by sluice.create_depth_function.', p_topic));
  if exists (select from sluice.guard g where g.topic = p_topic and g.overflow = 'drop-oldest') then
    execute format('create or replace function sluice_log.oldest_%1$s(p_partitions integer[], p_below bigint[], p_count bigint, p_segment integer,
      out o_below bigint[], out o_gone bigint) language plpgsql stable as %2$L', p_topic,
      format($template$begin
  if p_segment = %1$s then
      %2$s into o_below, o_gone;
  end if;
end$template$, v_segment, sluice.oldest_statement(p_topic, v_segment)));
    execute format('comment on function sluice_log.oldest_%s is %L', p_topic,
      format('Sluice: the oldest of what waits in topic %s. Generated by sluice.create_depth_function.', p_topic));
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.create_queue(p_name text, p_partitions integer DEFAULT 8, p_encoding text DEFAULT 'json'::text, p_compression text DEFAULT 'auto'::text, p_retention_ms bigint DEFAULT NULL::bigint, p_retention_bytes bigint DEFAULT NULL::bigint, p_segment_ms bigint DEFAULT 60000, p_segment_bytes bigint DEFAULT 1073741824)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_topic integer;
begin
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if found then return v_topic; end if;
  v_topic := sluice.create_topic(
    p_name, p_partitions, p_encoding, p_compression, p_retention_ms, p_retention_bytes, p_segment_ms, p_segment_bytes);
  update sluice.topic set retention_consumed = true where topic = v_topic;
  return v_topic;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.create_segment_table(p_topic integer, p_segment integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_table text := format('sluice_log.topic_%s_segment_%s', p_topic, p_segment);
  v_compression text := (select compression from sluice.topic where topic = p_topic);
  v_has_lz4 boolean := exists (
    select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals));
begin
  execute format('create table %s (like sluice_log.topic_%s including all)', v_table, p_topic);
  execute format('alter table %s add constraint topic_%s_segment_%s_pkey primary key (partition, base_offset)', v_table, p_topic, p_segment);
  execute format('create unique index topic_%2$s_segment_%3$s_sequence on %1$s (producer, sequence)', v_table, p_topic, p_segment);
  if v_compression = 'pglz' then
    execute format('alter table %s alter keys set compression pglz, alter records set compression pglz, alter attributes set compression pglz', v_table);
  elsif v_compression = 'auto' and v_has_lz4 then
    execute format('alter table %s alter keys set compression lz4, alter records set compression lz4, alter attributes set compression lz4', v_table);
  else
    -- Nothing to compress: a batch that fits into a page stays in its row, which costs a fifth less than a side table.
    execute format('alter table %s alter keys set storage external, alter records set storage external, alter attributes set storage external', v_table);
    execute format('alter table %s set (toast_tuple_target = 8160)', v_table);
  end if;
  execute format('alter table sluice_log.topic_%s attach partition %s for values in (%s)', p_topic, v_table, p_segment);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.create_topic(p_name text, p_partitions integer DEFAULT 8, p_encoding text DEFAULT 'json'::text, p_compression text DEFAULT 'auto'::text, p_retention_ms bigint DEFAULT NULL::bigint, p_retention_bytes bigint DEFAULT NULL::bigint, p_segment_ms bigint DEFAULT 86400000, p_segment_bytes bigint DEFAULT 1073741824)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_topic integer;
begin
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if found then return v_topic; end if;
  perform pg_advisory_xact_lock(1936487681, 0);
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if found then return v_topic; end if;

  insert into sluice.topic (name, partitions, encoding, compression, retention_ms, retention_bytes, segment_ms, segment_bytes)
  values (p_name, p_partitions, p_encoding, p_compression, p_retention_ms, p_retention_bytes, p_segment_ms, p_segment_bytes)
  returning topic into v_topic;

  execute format($ddl$
    create table sluice_log.topic_%1$s (
      segment integer not null,
      partition integer not null,
      base_offset bigint not null,
      count integer not null,
      appended_at timestamptz not null,
      producer bigint,
      sequence bigint,
      keys text,
      records text not null,
      attributes text
    ) partition by list (segment)$ddl$, v_topic);
  execute format('comment on table sluice_log.topic_%s is %L', v_topic,
    format('Sluice: the record batches of topic %s. One row a batch; read topics.%I for messages.', p_name, p_name));
  insert into sluice.segment (topic, segment) values (v_topic, 0);
  insert into sluice.segment_start (topic, segment, partition, start_offset)
  select v_topic, 0, p, 0 from generate_series(0, p_partitions - 1) p;
  perform sluice.create_segment_table(v_topic, 0);
  perform sluice.create_append_function(v_topic);
  perform sluice.create_topic_view(v_topic);
  return v_topic;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.create_topic_view(p_topic integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_name text; v_encoding text; v_partitions integer;
begin
  select name, encoding, partitions / priorities into v_name, v_encoding, v_partitions from sluice.topic where topic = p_topic;
  execute format($ddl$
    create or replace view topics.%1$I as
    select
      batch.partition,
      batch.base_offset + record.number - 1 as "offset",
      record.key,
      %3$s as value,
      coalesce(record.attributes -> 'headers', '{}'::json) as headers,
      coalesce(to_timestamp((record.attributes ->> 'timestamp')::double precision / 1000), batch.appended_at) as "timestamp",
      coalesce(record.attributes ->> 'id', (batch.producer || '-' || batch.sequence + record.number - 1)) as id,
      batch.appended_at,
      batch.partition / %4$s as priority
    from sluice_log.topic_%2$s batch
    cross join lateral rows from (
      json_array_elements(batch.records::json),
      json_array_elements_text(batch.keys::json),
      json_array_elements(batch.attributes::json)
    ) with ordinality as record(value, key, attributes, number)$ddl$,
    v_name, p_topic,
    case v_encoding when 'bytes' then $sql$decode(record.value #>> '{}', 'base64')$sql$ else 'record.value' end, v_partitions);
  execute format('comment on view topics.%I is %L', v_name,
    format('Sluice: the messages of topic %s, one row each.', v_name));
  execute format('comment on column topics.%I."offset" is %L', v_name, 'Position within the partition, from 0, without gaps; never reused.');
  execute format('comment on column topics.%I.key is %L', v_name, 'What is kept in order and what picked the partition; null when the sender gave none.');
  execute format('comment on column topics.%I.value is %L', v_name,
    case v_encoding when 'bytes' then 'The message''s bytes.' else 'The message, as JSON: value->>''email''.' end);
  execute format('comment on column topics.%I.priority is %L', v_name, 'Which messages come first, from 0, the least urgent. It follows from the partition.');
  execute format('comment on column topics.%I.id is %L', v_name, 'Unique for ever, and known to the sender.');
end $function$
;

CREATE OR REPLACE FUNCTION sluice.declare_schedule(p_name text, p_topic integer, p_cron text, p_every_ms bigint, p_time_zone text, p_key text, p_value text, p_headers text, p_missed text, p_next_ms bigint, p_declared_by text, p_priority integer DEFAULT 0)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  insert into sluice.schedule as s (name, topic, cron, every_ms, time_zone, key, value, headers, missed, next_at, declared_by, priority)
  values (p_name, p_topic, p_cron, p_every_ms, p_time_zone, p_key, p_value, p_headers, p_missed, sluice.time_of_ms(p_next_ms), p_declared_by, p_priority)
  on conflict (name) do update set
    topic = excluded.topic, cron = excluded.cron, every_ms = excluded.every_ms, time_zone = excluded.time_zone, key = excluded.key,
    value = excluded.value, headers = excluded.headers, missed = excluded.missed, priority = excluded.priority,
    next_at = case when (s.cron, s.every_ms, s.time_zone) is distinct from (excluded.cron, excluded.every_ms, excluded.time_zone)
      then excluded.next_at else s.next_at end,
    revision = s.revision + 1, declared_by = excluded.declared_by, declared_at = clock_timestamp()
  where (s.topic, s.cron, s.every_ms, s.time_zone, s.key, s.value, s.headers, s.missed, s.priority) is distinct from
    (excluded.topic, excluded.cron, excluded.every_ms, excluded.time_zone, excluded.key, excluded.value, excluded.headers, excluded.missed, excluded.priority);
  if found then perform pg_notify('sluice', 'schedule'); end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.delayed_insert(p_topic integer, p_messages json, p_due_ms bigint, p_delay_ms bigint, p_ring boolean)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_due timestamptz := sluice.due_time(
    sluice.time_of_ms(p_due_ms), (p_delay_ms / 1000) * interval '1 second' + (p_delay_ms % 1000) * interval '1 millisecond');
  v_numbers text;
begin
  with inserted as (
    insert into sluice.delayed (due, topic, partition, key, value, attributes)
    select v_due, p_topic, (m.message ->> 'partition')::integer, m.message ->> 'key', (m.message -> 'value')::text,
      nullif((m.message -> 'attributes')::text, 'null')
    from json_array_elements(p_messages) with ordinality as m(message, number)
    order by m.number
    returning delayed)
  select string_agg(delayed::text, ',' order by delayed) into v_numbers from inserted;
  if p_ring then perform sluice.ring_for_due(v_due); end if;
  return v_numbers;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.depth(p_topic integer)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  v_depth bigint;
begin
  if exists (select from sluice.guard g where g.topic = p_topic and g.max_depth is not null) then
    execute format('select sluice_log.depth_%s()', p_topic) into v_depth;
  end if;
  if v_depth is null then
    execute sluice.depth_statement(p_topic, (select max(segment) from sluice.segment where topic = p_topic)) into v_depth;
  end if;
  return v_depth;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.depth_statement(p_topic integer, p_segment integer)
 RETURNS text
 LANGUAGE sql
 STABLE
RETURN format('select sum(coalesce(l.end_offset, s.start_offset) - greatest(b.start_offset, coalesce(g.next_offset, b.start_offset)%3$s))
    from sluice.segment_start s
    cross join lateral (select f.start_offset from sluice.segment_start f
      where f.topic = %1$s and f.partition = s.partition order by f.segment limit 1) b
    left join lateral (select t.base_offset + t.count as end_offset from sluice_log.topic_%1$s_segment_%2$s t
      where t.partition = s.partition and t.base_offset < 4611686018427387904 order by t.base_offset desc limit 1) l on true
    cross join lateral (select min(p.next_offset) as next_offset from sluice.position p
      where p.topic = %1$s and p.partition = s.partition) g
    where s.topic = %1$s and s.segment = %2$s'::text, p_topic, p_segment, CASE WHEN sluice.drops(p_topic) THEN format(', (select m.below from sluice.drop_mark m
      where m.topic = %s and m.partition = s.partition order by m.below desc limit 1)'::text, p_topic) ELSE ''::text END)
;

CREATE OR REPLACE FUNCTION sluice.discard(dead_letters bigint[])
 RETURNS TABLE(dead_letter bigint, outcome text)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.drop_dead_letters(p_act text, p_dead_letters bigint[])
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 INSERT INTO sluice.audit (who, act, subject, details)  SELECT sluice.actor() AS actor,
             drop_dead_letters.p_act AS p_act,
             format('group %s, topic %s'::text, g.name, t.name) AS format,
             json_build_object('letters', json_agg(json_build_object('dead_letter', d.dead_letter, 'partition', d.partition, 'offset', d."offset", 'id', d.id) ORDER BY d.dead_letter)) AS json_build_object
            FROM ((sluice.dead_letter d
              JOIN sluice.consumer_group g USING ("group"))
              JOIN sluice.topic t USING (topic))
           WHERE (d.dead_letter = ANY (drop_dead_letters.p_dead_letters))
           GROUP BY g.name, t.name;
 DELETE FROM sluice.dead_letter d
   WHERE (d.dead_letter = ANY (drop_dead_letters.p_dead_letters));
END
;

CREATE OR REPLACE FUNCTION sluice.drop_messages(p_positions integer[], p_epochs bigint[], p_offsets bigint[])
 RETURNS SETOF integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
declare
  v_position integer;
  v_epoch bigint;
  v_next bigint;
begin
  for v_position in select distinct p from unnest(p_positions) as p order by p loop
    perform pg_advisory_xact_lock_shared(1936487683, v_position);
    select p.epoch, p.next_offset into v_epoch, v_next from sluice.position p where p.position = v_position for share;
    delete from sluice.retry r using unnest(p_positions, p_epochs, p_offsets) as a(position, epoch, "offset")
    where a.position = v_position and a.epoch = v_epoch and r.position = v_position and r."offset" = a."offset";
    insert into sluice.done (position, "offset")
    select v_position, a."offset" from unnest(p_positions, p_epochs, p_offsets) as a(position, epoch, "offset")
    where a.position = v_position and a.epoch = v_epoch and a."offset" >= v_next
    order by a."offset" on conflict do nothing;
    return query
      select a.number::integer from unnest(p_positions, p_epochs) with ordinality as a(position, epoch, number)
      where a.position = v_position and a.epoch is distinct from v_epoch;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.drop_oldest(p_topic integer, p_count bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_partitions integer[];
  v_from bigint[];
  v_below bigint[];
  v_segment integer;
  v_left bigint := p_count;
  v_gone bigint;
begin
  select array_agg(w.partition order by w.partition), array_agg(w."offset" order by w.partition), min(h.segment)
  into v_partitions, v_from, v_segment
  from sluice.waiting_from(p_topic) w
  cross join lateral (select s.segment from sluice.segment_start s
    where s.topic = p_topic and s.partition = w.partition and s.start_offset <= w."offset" order by s.segment desc limit 1) h;
  for v_segment in select s.segment from sluice.segment s where s.topic = p_topic and s.segment >= v_segment order by s.segment loop
    execute format('select o_below, o_gone from sluice_log.oldest_%s($1, $2, $3, $4)', p_topic)
      into v_below, v_gone using v_partitions, v_from, v_left, v_segment;
    if v_below is null then
      execute sluice.oldest_statement(p_topic, v_segment) into v_below, v_gone using v_partitions, v_from, v_left;
    end if;
    v_from := v_below;
    v_left := v_left - v_gone;
    exit when v_left = 0;
  end loop;
  perform sluice.raise_marks(p_topic, v_partitions, v_from);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.dropped_below(p_topic integer, p_partition integer)
 RETURNS bigint
 LANGUAGE sql
 STABLE
RETURN (SELECT m.below FROM sluice.drop_mark m WHERE ((m.topic = dropped_below.p_topic) AND (m.partition = dropped_below.p_partition)) ORDER BY m.below DESC LIMIT 1)
;

CREATE OR REPLACE FUNCTION sluice.drops(p_topic integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN ((EXISTS (SELECT FROM sluice.guard g WHERE ((g.topic = drops.p_topic) AND (g.overflow = 'drop-oldest'::text)))) OR (EXISTS (SELECT FROM sluice.drop_mark m WHERE (m.topic = drops.p_topic))))
;

CREATE OR REPLACE FUNCTION sluice.due_time(p_at timestamp with time zone, p_delay interval)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
AS $function$
declare
  v_due timestamptz := coalesce(p_at, clock_timestamp() + p_delay);
begin
  if p_at is not null and p_delay is not null then
    raise exception 'sluice: deliver_at and delay exclude each other' using errcode = '22023';
  end if;
  if not isfinite(v_due) or v_due >= '10000-01-01 00:00:00+00' then
    raise exception 'sluice: a message must be due before the year 10000; nothing was sent' using errcode = '22008';
  end if;
  return greatest(v_due, '1970-01-01 00:00:00+00');
end $function$
;

CREATE OR REPLACE FUNCTION sluice.edit_dead_letter(dead_letter bigint, value json DEFAULT NULL::json, headers json DEFAULT NULL::json)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.end_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[])
 RETURNS SETOF integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select a.number::integer, a.position, a."offset"
      from unnest(p_positions, p_epochs, p_offsets) with ordinality as a(position, epoch, "offset", number)
      join sluice.position p on p.position = a.position and p.epoch = a.epoch),
    gone as (
      delete from sluice.retry r using asked a where r.position = a.position and r."offset" = a."offset")
    select a.number from asked a;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.end_offset(p_topic integer, p_partition integer)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.end_retries(p_position integer, p_epoch bigint, p_offsets bigint[])
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return false; end if;
  delete from sluice.retry where position = p_position and "offset" = any (p_offsets);
  return true;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.ensure_positions(p_group integer, p_topic integer, p_start text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.ensure_positions_at(p_group integer, p_topic integer, p_start text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.expire_lease(p_lease bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  update sluice.lease set lease_until = '-infinity' where lease = p_lease;
  return found;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.fence_position(p_position integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_timeout text := current_setting('lock_timeout');
begin
  if pg_try_advisory_xact_lock(1936487683, p_position) then return; end if;
  perform set_config('lock_timeout', '1s', true);
  loop
    begin
      perform pg_advisory_xact_lock(1936487683, p_position);
      perform set_config('lock_timeout', v_timeout, true);
      return;
    exception when lock_not_available then
      begin
        -- What others do is read once in a transaction, unless asked for anew.
        perform pg_stat_clear_snapshot();
        perform pg_terminate_backend(a.pid) from pg_stat_activity a join pg_locks l using (pid)
        where l.locktype = 'advisory' and l.classid = 1936487683 and l.objid = p_position::oid and l.objsubid = 2 and l.granted
          and l.database = (select oid from pg_database where datname = current_database())
          and a.state like 'idle in transaction%' and a.state_change < clock_timestamp() - interval '5 seconds';
      exception when insufficient_privilege then
        -- It is another role's.
        raise debug 'sluice: who holds the fence of position % is not this role''s to end', p_position;
      end;
    end;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.find_offset(p_topic integer, p_partition integer, p_to text)
 RETURNS numeric
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
  if p_to is null then
    raise exception 'sluice: a position cannot go to SQL null; nothing was changed'
      using errcode = '22004', hint = 'Say where: earliest, latest, an offset, or a time.';
  end if;
  return case when p_to = 'earliest' then sluice.start_offset(p_topic, p_partition)
    when p_to = 'latest' then sluice.end_offset(p_topic, p_partition)
    when p_to ~ '^[0-9]{1,18}$' then p_to::numeric
    else sluice.offset_at(p_topic, p_partition, p_to::timestamptz) end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.find_schedule(p_name text)
 RETURNS sluice.schedule
 LANGUAGE plpgsql
AS $function$
declare
  v_schedule sluice.schedule%rowtype;
begin
  select * into v_schedule from sluice.schedule s where s.name = p_name for update;
  if not found then
    raise exception 'sluice: there is no schedule %', quote_literal(p_name)
      using errcode = '42704', hint = 'select name from sluice.schedules;';
  end if;
  return v_schedule;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.finish_retries(p_positions integer[], p_offsets bigint[], p_claims bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
begin
  perform sluice.hold_fences(p_positions);
  perform from unnest(p_positions, p_offsets, p_claims) as a(position, "offset", claim)
    join sluice.shared_retry r on r.position = a.position and r."offset" = a."offset" and r.claim = a.claim
    order by r.position, r."offset" for update of r;
  delete from sluice.shared_retry r using unnest(p_positions, p_offsets, p_claims) as a(position, "offset", claim)
  where r.position = a.position and r."offset" = a."offset" and r.claim = a.claim;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.fire_schedule(p_epoch bigint, p_schedule integer, p_revision bigint, p_ticks_ms bigint[], p_next_ms bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  v_schedule sluice.schedule%rowtype;
  v_tick_ms bigint;
begin
  perform sluice.assert_duty(4, p_epoch);
  select * into v_schedule from sluice.schedule s
  where s.schedule = p_schedule and s.revision = p_revision and not s.paused for update;
  if not found then return false; end if;
  foreach v_tick_ms in array p_ticks_ms loop
    if sluice.time_of_ms(v_tick_ms) > clock_timestamp() then
      raise exception 'sluice: a tick of schedule % has not come yet', quote_literal(v_schedule.name) using errcode = '22023';
    end if;
    perform sluice.send_scheduled(v_schedule, sluice.time_of_ms(v_tick_ms));
  end loop;
  update sluice.schedule s set next_at = sluice.time_of_ms(p_next_ms), revision = s.revision + 1 where s.schedule = p_schedule;
  return true;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.fold_done(p_position integer, p_done int8multirange)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_next bigint;
  v_done int8multirange;
begin
  select p.next_offset, p.done_above + p_done into v_next, v_done from sluice.position p where p.position = p_position for update;
  if not found then return; end if;
  v_next := coalesce((select upper(r) from unnest(v_done) r where r @> v_next), v_next);
  update sluice.position p set next_offset = v_next, done_above = v_done - int8multirange(int8range(null, v_next)),
    committed_at = clock_timestamp()
  where p.position = p_position;
  delete from sluice.done d using unnest(p_done) r
  where d.position = p_position and d."offset" >= lower(r) and d."offset" < upper(r);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.forget_expired(p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_table text;
  v_gone integer;
  v_most integer := 0;
begin
  foreach v_table in array array['deduplication', 'guarded_append', 'idempotence'] loop
    execute format('delete from sluice.%1$I where ctid = any (array(
      select ctid from sluice.%1$I where expires_at < clock_timestamp() order by expires_at limit $1 for update skip locked))', v_table)
      using p_limit;
    get diagnostics v_gone = row_count;
    v_most := greatest(v_most, v_gone);
  end loop;
  return v_most;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.forget_marks(p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  v record;
  v_gone integer;
  v_all integer := 0;
begin
  for v in
    select n.topic, n.partition, sluice.dropped_below(n.topic, n.partition) as below
    from (select t.topic, generate_series(0, t.partitions - 1) as partition from sluice.topic t where sluice.drops(t.topic)) n
  loop
    delete from sluice.drop_mark m where m.ctid = any (array(
      select d.ctid from sluice.drop_mark d
      where d.topic = v.topic and d.partition = v.partition and d.below < v.below order by d.below limit p_limit - v_all for update skip locked));
    get diagnostics v_gone = row_count;
    v_all := v_all + v_gone;
    exit when v_all = p_limit;
  end loop;
  return v_all;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.forget_moves(p_limit integer, p_keep integer DEFAULT 100000)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_gone integer;
begin
  delete from sluice.move where move in (
    select l.move from sluice.move l
    where (l.at < clock_timestamp() - interval '30 days' or l.move <= (select max(move) from sluice.move) - p_keep)
      and exists (select from sluice.move n where (n.position = l.position or n.duty = l.duty) and n.move > l.move)
    order by l.move limit p_limit for update skip locked);
  get diagnostics v_gone = row_count;
  return v_gone;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.forget_pace(p_limit integer)
 RETURNS bigint
 LANGUAGE sql
BEGIN ATOMIC
 WITH old AS (
          SELECT pace."group",
             pace.topic,
             pace.key
            FROM sluice.pace
           WHERE ((pace.key <> ''::text) AND (pace.next_at < (clock_timestamp() - '00:01:00'::interval)))
          LIMIT forget_pace.p_limit
          FOR UPDATE OF pace SKIP LOCKED
         ), gone AS (
          DELETE FROM sluice.pace p
            USING old o
           WHERE ((p."group" = o."group") AND (p.topic = o.topic) AND (p.key = o.key))
           RETURNING 1 AS "?column?"
         )
  SELECT count(*) AS count
    FROM gone;
END
;

CREATE OR REPLACE FUNCTION sluice.forget_releases()
 RETURNS bigint
 LANGUAGE sql
BEGIN ATOMIC
 WITH gone AS (
          DELETE FROM sluice.release r
           WHERE ((r.until <= clock_timestamp()) OR (sluice.release_left(r."group", r.topic, r.ends) = 0))
           RETURNING 1 AS "?column?"
         )
  SELECT count(*) AS count
    FROM gone;
END
;

CREATE OR REPLACE FUNCTION sluice.forget_replies(p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_gone integer;
begin
  delete from sluice.reply where ctid = any (array(
    select ctid from sluice.reply where expires_at < clock_timestamp() order by expires_at limit p_limit for update skip locked));
  get diagnostics v_gone = row_count;
  return v_gone;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.group_number(p_name text)
 RETURNS integer
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  v_group integer;
begin
  select g."group" into v_group from sluice.consumer_group g where g.name = p_name;
  if v_group is null then
    raise exception 'sluice: there is no group %; nothing was changed', p_name
      using errcode = 'SL031', hint = 'select "group" from sluice.groups lists those there are.';
  end if;
  return v_group;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.guard_topic(topic text, deduplicate_ms bigint DEFAULT NULL::bigint, max_depth bigint DEFAULT NULL::bigint, time_to_live_ms bigint DEFAULT NULL::bigint, overflow text DEFAULT 'reject'::text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_topic integer := (select t.topic from sluice.topic t where t.name = guard_topic.topic);
begin
  if v_topic is null then
    raise exception 'sluice: there is no topic %', quote_literal(guard_topic.topic) using errcode = '42704';
  end if;
  perform pg_advisory_xact_lock(1936487681, v_topic);
  insert into sluice.guard as g (topic, deduplicate_ms, max_depth, time_to_live_ms, overflow)
  values (v_topic, guard_topic.deduplicate_ms, guard_topic.max_depth, guard_topic.time_to_live_ms, guard_topic.overflow)
  on conflict on constraint guard_pkey do update set deduplicate_ms = excluded.deduplicate_ms, max_depth = excluded.max_depth,
    time_to_live_ms = excluded.time_to_live_ms, overflow = excluded.overflow
  where (g.deduplicate_ms, g.max_depth, g.time_to_live_ms, g.overflow)
    is distinct from (excluded.deduplicate_ms, excluded.max_depth, excluded.time_to_live_ms, excluded.overflow);
  if guard_topic.max_depth is not null then
    perform sluice.create_depth_function(v_topic);
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.hand_out(p_position integer, p_epoch bigint, p_offset bigint, p_first integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_attempt integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return null; end if;
  insert into sluice.handed_out as h (position, "offset", attempt, epoch) values (p_position, p_offset, p_first, p_epoch)
  on conflict (position, "offset") do update
    set attempt = case when h.epoch = p_epoch then h.attempt else h.attempt + 1 end, epoch = p_epoch
  returning h.attempt into v_attempt;
  return v_attempt;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.has_run_out(p_until timestamp with time zone, p_holder integer, p_taker integer, p_lease_ms bigint)
 RETURNS boolean
 LANGUAGE sql
RETURN CASE WHEN (p_holder = p_taker) THEN (isfinite(p_until) AND (p_until < (clock_timestamp() - make_interval(secs => ((p_lease_ms)::double precision / (1000)::double precision))))) ELSE (p_until < clock_timestamp()) END
;

CREATE OR REPLACE FUNCTION sluice.hold_fences(p_positions integer[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_position integer;
begin
  for v_position in select distinct p from unnest(p_positions) as p order by p loop
    perform pg_advisory_xact_lock_shared(1936487683, v_position);
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.holds_lease(p_member integer)
 RETURNS boolean
 LANGUAGE sql
RETURN (EXISTS (SELECT FROM sluice.member m WHERE ((m.member = holds_lease.p_member) AND m.leased AND (m.lease_until > clock_timestamp()))))
;

CREATE OR REPLACE FUNCTION sluice.is_anothers(p_position integer, p_member integer)
 RETURNS boolean
 LANGUAGE sql
RETURN ((EXISTS (SELECT FROM sluice."position" p WHERE ((p."position" = is_anothers.p_position) AND (p.owner <> is_anothers.p_member) AND sluice.holds_lease(p.owner)))) OR ((EXISTS (SELECT FROM sluice.member m WHERE ((m.member = is_anothers.p_member) AND m.leased))) AND sluice.is_locked(1936487684, p_position)))
;

CREATE OR REPLACE FUNCTION sluice.is_anothers_duty(p_duty integer, p_member integer)
 RETURNS boolean
 LANGUAGE sql
RETURN ((EXISTS (SELECT FROM sluice.duty d WHERE ((d.duty = is_anothers_duty.p_duty) AND (d.member <> is_anothers_duty.p_member) AND sluice.holds_lease(d.member)))) OR ((EXISTS (SELECT FROM sluice.member m WHERE ((m.member = is_anothers_duty.p_member) AND m.leased))) AND sluice.is_locked(1936487686, p_duty)))
;

CREATE OR REPLACE FUNCTION sluice.is_awaited(p_static_id text, p_lease_until timestamp with time zone)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN ((p_static_id IS NOT NULL) AND (p_lease_until > clock_timestamp()))
;

CREATE OR REPLACE FUNCTION sluice.is_guarded(p_topic integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN (EXISTS (SELECT FROM sluice.guard g WHERE ((g.topic = is_guarded.p_topic) AND ((g.deduplicate_ms IS NOT NULL) OR (g.max_depth IS NOT NULL)))))
;

CREATE OR REPLACE FUNCTION sluice.is_locked(p_class integer, p_key integer)
 RETURNS boolean
 LANGUAGE sql
RETURN (EXISTS (SELECT FROM pg_locks l WHERE ((l.locktype = 'advisory'::text) AND (l.classid = (is_locked.p_class)::oid) AND (l.objid = (is_locked.p_key)::oid) AND (l.objsubid = 2) AND l.granted AND (l.database = (SELECT pg_database.oid FROM pg_database WHERE (pg_database.datname = current_database()))))))
;

CREATE OR REPLACE FUNCTION sluice.is_owned(p_position integer)
 RETURNS boolean
 LANGUAGE sql
RETURN (sluice.is_locked(1936487684, p_position) OR (EXISTS (SELECT FROM sluice."position" p WHERE ((p."position" = is_owned.p_position) AND sluice.holds_lease(p.owner)))) OR (EXISTS (SELECT FROM ((sluice."position" p JOIN sluice.group_topic gt ON (((gt."group" = p."group") AND (gt.topic = p.topic) AND (gt.mode = 'shared'::text)))) JOIN sluice.subscription s ON (((s."group" = p."group") AND (s.topic = p.topic)))) WHERE ((p."position" = is_owned.p_position) AND (s.member IN (SELECT sluice.live_members() AS live_members))))))
;

CREATE OR REPLACE FUNCTION sluice.is_paused(p_group integer, p_topic integer, p_partition integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN (EXISTS (SELECT FROM sluice.pause s WHERE ((s."group" = is_paused.p_group) AND ((s.topic IS NULL) OR (s.topic = is_paused.p_topic)) AND ((s.partition IS NULL) OR (s.partition = is_paused.p_partition)))))
;

CREATE OR REPLACE FUNCTION sluice.keep_failures(p_positions integer[], p_messages json)
 RETURNS TABLE(number integer, outcome text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due, m.first and not coalesce(m.doubt, true) as certain,
        m.position = any (p_positions)
          and exists (select from sluice.position p where p.position = m.position and p.epoch = m.epoch) as holds
      from json_to_recordset(p_messages) as m(
        number integer, position integer, epoch bigint, "offset" bigint, first boolean, doubt boolean, attempt integer, delay_ms double precision,
        blocks text, id text, key text, value text, headers json, timestamp_ms double precision, error text,
        appended_ms double precision, time_to_live_ms bigint)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from asked f where f.holds and not f.certain and r.position = f.position and r."offset" = f."offset"
      returning r.position, r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select f.position, f."offset" from asked f
      where f.holds and f.first and not f.certain
        and not exists (select from sluice.retry r where r.position = f.position and r."offset" = f."offset")
      order by f.position, f."offset" on conflict do nothing
      returning position, "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error, appended_at, time_to_live_ms)
      select f.position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error,
        to_timestamp(f.appended_ms / 1000), f.time_to_live_ms
      from asked f
      -- By the hash of a subquery: a join would compare all with all, as the two have no index.
      where f.holds and f.certain or f.first and (f.position, f."offset") in (select m.position, m."offset" from marked m)
      -- One that is certain may have been kept by a call whose answer was lost.
      on conflict (position, "offset") do nothing)
    select f.number, case when f.holds then 'already' else 'fenced' end
    from asked f
    where not f.holds
      or (not f.certain
        and (f.position, f."offset") not in (select a.position, a."offset" from again a)
        and (f.position, f."offset") not in (select m.position, m."offset" from marked m));
end $function$
;

CREATE OR REPLACE FUNCTION sluice.keep_reply(p_inbox text, p_correlation text, p_within_ms bigint, p_value text, p_failure text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  insert into sluice.reply (inbox, correlation, value, failure, expires_at)
  values (p_inbox, p_correlation, p_value, p_failure,
    clock_timestamp() + make_interval(secs => least(greatest(p_within_ms, 1), 3600000) / 1000.0))
  on conflict on constraint reply_pkey do nothing;
  if found then return true; end if;
  update sluice.reply r set dropped = r.dropped + 1 where r.inbox = p_inbox and r.correlation = p_correlation;
  return false;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.lane_of(p_topic sluice.topic, p_key text, p_partition integer, p_priority integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_partitions integer := p_topic.partitions / p_topic.priorities;
  v_priority integer := coalesce(p_priority, 0);
begin
  if v_priority not between 0 and p_topic.priorities - 1 then
    raise exception 'sluice: topic % has priorities 0 to %, not %', quote_literal(p_topic.name), p_topic.priorities - 1, v_priority
      using errcode = '22023', hint = 'Give it more: select sluice.raise_priorities(''name'', priorities);';
  end if;
  if p_partition is null then
    return v_priority * v_partitions
      + coalesce(sluice.partition_of_key(p_key, v_partitions), floor(random() * v_partitions)::integer);
  end if;
  if p_partition not between 0 and v_partitions - 1 then
    raise exception 'sluice: topic % has partitions 0 to %, not %', quote_literal(p_topic.name), v_partitions - 1, p_partition
      using errcode = '22023';
  end if;
  return v_priority * v_partitions + p_partition;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.lead_duty(p_duty integer, p_owner text)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  v record;
  v_epoch bigint;
begin
  perform pg_advisory_xact_lock(1936487687, p_duty);
  select d.epoch, d.owner, d.left_epoch,
    (select max(m.lease_until) from sluice.member m where m.name = d.owner) as lease_until
  into v from sluice.duty d where d.duty = p_duty;
  v_epoch := sluice.take_duty(p_duty, p_owner);
  insert into sluice.move (duty, epoch, from_name, to_name, why)
  values (p_duty, v_epoch, left(v.owner, 200), left(p_owner, 200), case
    when v.owner is null then 'start'
    when v.left_epoch = v.epoch then 'leave'
    when v.owner = p_owner then 'reconnect'
    when v.lease_until < clock_timestamp() then 'freeze'
    when v.lease_until is null then coalesce(
      -- It is listed no more, because its partitions have gone to others already: as what they went.
      (select l.why from sluice.move l where l.from_name = v.owner and l.why in ('crash', 'freeze') order by l.move desc limit 1), 'crash')
    else 'crash' end);
  return v_epoch;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.lease_ranges(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
 RETURNS TABLE(lease bigint, "position" integer, from_offset bigint, to_offset bigint)
 LANGUAGE plpgsql
AS $function$
declare
  v record;
  v_position integer;
  v_from bigint;
  v_start bigint;
  v_end bigint;
begin
  perform set_config('synchronous_commit', 'off', true);
  for v_position in select unnest(p_positions) order by 1 loop
    perform pg_advisory_xact_lock(1936487691, v_position);
    -- In one statement, and so in one snapshot: a lease that is acknowledged goes from one to the other. And only leases above
    -- what is done: those that are gone left dead rows behind, and those are all below it.
    select p.topic, p.partition, greatest(p.next_offset, upper(p.done_above), (
        select max(l.to_offset) from sluice.lease l
        where l.position = p.position and l.to_offset > greatest(p.next_offset, upper(p.done_above)))) as leased_to
      into v from sluice.position p where p.position = v_position;
    continue when not found;
    v_from := v.leased_to;
    v_start := sluice.start_offset(v.topic, v.partition);
    if v_start > v_from then
      perform sluice.fold_done(v_position, int8multirange(int8range(v_from, v_start)));
      v_from := v_start;
    end if;
    v_end := sluice.end_offset(v.topic, v.partition);
    continue when v_end <= v_from;
    return query
      insert into sluice.lease as l (position, from_offset, to_offset, member, lease_until)
      values (v_position, v_from, least(v_end, v_from + p_most), p_member,
        clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000))
      returning l.lease, l.position, l.from_offset, l.to_offset;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.leave_duty(p_duty integer, p_epoch bigint)
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 UPDATE sluice.duty SET left_epoch = duty.epoch
   WHERE ((duty.duty = leave_duty.p_duty) AND (duty.epoch = leave_duty.p_epoch));
END
;

CREATE OR REPLACE FUNCTION sluice.leave_position(p_position integer, p_epoch bigint, p_why text, p_stays boolean)
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 UPDATE sluice."position" SET owner =
         CASE
             WHEN leave_position.p_stays THEN "position".owner
             ELSE NULL::integer
         END, handed_to = 0, left_why = leave_position.p_why
   WHERE (("position"."position" = leave_position.p_position) AND ("position".epoch = leave_position.p_epoch));
END
;

CREATE OR REPLACE FUNCTION sluice.let_held_in(p_topic integer, p_limit integer, p_bytes bigint)
 RETURNS SETOF text
 LANGUAGE plpgsql
AS $function$
declare
  v_message record;
  v_last bigint;
  v_bytes bigint := 0;
  v_held bigint[];
  v_messages json;
  v_answers text[];
begin
  -- How large a message is, is known when it has been read, so they are read until there are enough and not all of them.
  for v_message in
    select h.held, octet_length(h.message::text) as bytes from sluice.held h where h.topic = p_topic order by h.held limit p_limit
  loop
    v_last := v_message.held;
    v_bytes := v_bytes + v_message.bytes;
    exit when v_bytes >= p_bytes;
  end loop;
  if v_last is null then return; end if;
  select array_agg(h.held order by h.held), json_agg(h.message order by h.held) into v_held, v_messages
  from sluice.held h where h.topic = p_topic and h.held <= v_last;
  v_answers := sluice.append_alone(p_topic, v_messages);
  delete from sluice.held h using unnest(v_held, v_answers) e(held, answer)
  where h.topic = p_topic and h.held = e.held and e.answer not like 'f:%';
  return query
    select p_topic || ' ' || string_agg(distinct split_part(e.answer, ':', 2), ' ')
    from unnest(v_answers) e(answer) where e.answer like 'a:%' having count(*) > 0;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.let_in(p_topic integer, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_messages json;
begin
  if not sluice.is_guarded(p_topic) then
    execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, $6, null)', p_topic)
      using p_partitions, p_counts, p_keys, p_records, p_attributes, current_setting('synchronous_commit');
    return;
  end if;
  select json_agg(json_build_object('p', b.partition, 'u', 0, 'k', r.key, 'v', r.value, 'a', r.attributes)
    order by substr(r.attributes ->> 'id', 3)::bigint) into v_messages
  from rows from (
    unnest(p_partitions), unnest(string_to_array(p_keys, repeat(E'\x1e', 32))), unnest(string_to_array(p_records, repeat(E'\x1e', 32))),
    unnest(string_to_array(p_attributes, repeat(E'\x1e', 32)))
  ) with ordinality b(partition, keys, records, attributes, number)
  cross join lateral rows from (
    json_array_elements(b.records::json), json_array_elements_text(b.keys::json), json_array_elements(b.attributes::json)
  ) with ordinality r(value, key, attributes, number);
  perform sluice.admit(p_topic, v_messages);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.live_members()
 RETURNS SETOF integer
 LANGUAGE sql
 STABLE
AS $function$
  select l.objid::bigint::integer from pg_locks l
  where l.locktype = 'advisory' and l.classid = 1936487685 and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
  union
  select m.member from sluice.member m where m.leased and m.lease_until > clock_timestamp()
$function$
;

CREATE OR REPLACE FUNCTION sluice.make_room(p_topic integer, p_depth bigint, p_excess bigint, p_answers text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_own bigint := p_excess - p_depth + (select count(*) from unnest(p_answers) a(answer) where a.answer like 'a:%');
begin
  if v_own <= 0 then
    perform sluice.drop_oldest(p_topic, p_excess);
    return;
  end if;
  -- Where each partition ended before the call, and its messages of the call that go.
  perform sluice.raise_marks(p_topic, array_agg(e.partition), array_agg(e.below))
  from (
    select w.partition, coalesce(o.below, sluice.end_offset(p_topic, w.partition)) as below
    from sluice.waiting_from(p_topic) w
    left join (
      select c.partition, coalesce(max(c."offset") filter (where c.number <= v_own) + 1, min(c."offset")) as below
      from (
        select split_part(a.answer, ':', 2)::integer as partition, split_part(a.answer, ':', 3)::bigint as "offset",
          row_number() over (order by a.number) as number
        from unnest(p_answers) with ordinality a(answer, number) where a.answer like 'a:%') c
      group by c.partition) o on o.partition = w.partition) e;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.mark_all_done(p_position integer, p_epoch bigint, p_offsets bigint[])
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.mark_done(p_position integer, p_epoch bigint, p_offset bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_next bigint;
  v_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select next_offset into v_next from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return 'fenced'; end if;
  delete from sluice.retry where position = p_position and "offset" = p_offset;
  v_done := found;
  if p_offset >= v_next then
    insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
    v_done := v_done or found;
  end if;
  return case when v_done then 'done' else 'already' end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.mark_leased_done(p_position integer, p_lease bigint, p_offset bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_is_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
  if not found then return 'already'; end if;
  -- Looked for afterwards: who puts a message off holds its marker while it does, and what was put off counts as done here.
  select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position;
  if not found then return 'fenced'; end if;
  return case when v_is_done then 'already' else 'done' end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.mark_redriven(p_position integer, p_epoch bigint, p_redriven bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  if not exists (select from sluice.position where position = p_position and epoch = p_epoch) then return 'fenced'; end if;
  delete from sluice.redriven where position = p_position and redriven = p_redriven;
  return case when found then 'done' else 'already' end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.mark_redriven_done(p_position integer, p_offset bigint, p_claim bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
  delete from sluice.redriven where position = p_position and "offset" = p_offset and claim = p_claim;
  return case when found then 'done' else 'fenced' end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.mark_retry_done(p_position integer, p_offset bigint, p_claim bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
  delete from sluice.shared_retry where position = p_position and "offset" = p_offset and claim = p_claim;
  return case when found then 'done' else 'fenced' end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.member_name(p_member integer)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  v_name text;
begin
  select m.name into v_name from sluice.member m where m.member = p_member;
  if v_name is null then
    raise exception 'sluice: there is no member %; nothing was changed', p_member
      using errcode = 'SL034', hint = 'select member, name from sluice.members lists those there are.';
  end if;
  return v_name;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.move_all_to_retry(p_positions integer[], p_leases bigint[], p_offsets bigint[], p_attempts integer[], p_delays_ms double precision[], p_errors text[], p_keys text[])
 RETURNS TABLE(number integer, outcome text)
 LANGUAGE sql
AS $function$select m.number, m.outcome from sluice.move_all_to_retry($1, $2, $3, $4, $5, $6, $7, null) m$function$
;

CREATE OR REPLACE FUNCTION sluice.move_all_to_retry(p_positions integer[], p_leases bigint[], p_offsets bigint[], p_attempts integer[], p_delays_ms double precision[], p_errors text[], p_keys text[], p_doubts boolean[])
 RETURNS TABLE(number integer, outcome text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_moved integer[];
begin
  perform sluice.hold_fences(p_positions);
  if coalesce(true = any (p_doubts), true) then
    -- Whose marker can be had was not done by a transaction of its handler. The markers are not kept: the leases say it from here on.
    with asked as materialized (
      select a.number::integer, a.position, a."offset", coalesce(a.doubt, true) as doubt
      from unnest(p_positions, p_leases, p_offsets, p_doubts) with ordinality as a(position, lease, "offset", doubt, number)
      join sluice.lease l on l.lease = a.lease and l.position = a.position
      where not l.done @> a."offset"),
    marked as (
      insert into sluice.done (position, "offset") select a.position, a."offset" from asked a where a.doubt order by a.position, a."offset"
      on conflict do nothing returning position, "offset")
    select array_agg(a.number) into v_moved from asked a
    where not a.doubt or (a.position, a."offset") in (select m.position, m."offset" from marked m);
    delete from sluice.done d using unnest(v_moved) as m(number)
    where d.position = p_positions[m.number] and d."offset" = p_offsets[m.number];
    -- Who had to wait for a marker or a lease may find that an earlier try has moved the message meanwhile.
    select array_agg(f.number) into v_moved from (
      select m.number
      from unnest(v_moved) as m(number)
      join sluice.lease l on l.lease = p_leases[m.number] and l.position = p_positions[m.number]
      where not l.done @> p_offsets[m.number]
      order by l.lease for update of l) f;
  else
    select array_agg(f.number) into v_moved from (
      select a.number::integer
      from unnest(p_positions, p_leases, p_offsets) with ordinality as a(position, lease, "offset", number)
      join sluice.lease l on l.lease = a.lease and l.position = a.position
      where not l.done @> a."offset"
      order by l.lease for update of l) f;
  end if;
  if v_moved is not null then
    update sluice.lease l set done = l.done + f.done
    from (
      select p_leases[m.number] as lease, range_agg(int8range(p_offsets[m.number], p_offsets[m.number] + 1)) as done
      from unnest(v_moved) as m(number) group by 1) f
    where l.lease = f.lease;
    insert into sluice.shared_retry (position, "offset", attempt, due, error, key)
    select p_positions[m.number], p_offsets[m.number], p_attempts[m.number],
      clock_timestamp() + make_interval(secs => p_delays_ms[m.number] / 1000), p_errors[m.number], p_keys[m.number]
    from unnest(v_moved) as m(number) order by 1, 2;
    if cardinality(v_moved) = cardinality(p_offsets) then return; end if;
  end if;
  return query
    select a.number::integer, case when l.lease is null then 'fenced' else 'done' end
    from unnest(p_positions, p_leases, p_offsets) with ordinality as a(position, lease, "offset", number)
    left join sluice.lease l on l.lease = a.lease and l.position = a.position
    -- (What is done in its lease was moved by an earlier call, whose answer was lost, or by this one.)
    where l.lease is null or not l.done @> a."offset";
end $function$
;

CREATE OR REPLACE FUNCTION sluice.move_delayed(p_epoch bigint, p_floor timestamp with time zone, p_limit integer, p_bytes bigint)
 RETURNS TABLE(moved integer, rings text[], floor timestamp with time zone, wait_ms double precision)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET jit TO 'off'
AS $function$
declare
  v_now timestamptz;
  v_floor timestamptz := coalesce(p_floor, '-infinity');
  v_next timestamptz;
  v_topic record;
begin
  perform sluice.assert_duty(3, p_epoch);
  v_now := clock_timestamp();
  moved := 0;
  rings := '{}';
  for v_topic in
    with picked as materialized (
      select d.due, d.delayed, octet_length(d.value) as bytes from sluice.delayed d
      where d.due >= v_floor and d.due <= v_now
      order by d.due, d.delayed limit p_limit for update skip locked),
    fitting as materialized (
      select s.delayed from (
        select p.delayed, sum(p.bytes) over (order by p.due, p.delayed) - p.bytes as before from picked p
      ) s where s.before < p_bytes),
    gone as (
      delete from sluice.delayed d using fitting f where d.delayed = f.delayed returning d.*),
    guarded as materialized (
      select g.topic, json_agg(json_build_object('p', g.partition, 'k', g.key, 'v', g.value::json,
        'a', (coalesce(left(g.attributes, -1) || ',', '{') || '"id":"d-' || g.delayed || '"}')::json) order by g.due, g.delayed) as messages
      from gone g
      where g.topic = any (array(select u.topic from sluice.guard u where u.deduplicate_ms is not null or u.max_depth is not null))
      group by g.topic),
    batch as (
      select g.topic, g.partition, count(*)::integer as count,
        case when count(g.key) > 0 then '[' || string_agg(coalesce(to_json(g.key)::text, 'null'), ',' order by g.due, g.delayed) || ']' end as keys,
        '[' || string_agg(g.value, ',' order by g.due, g.delayed) || ']' as records,
        -- The id that the sender was told goes along: into the attributes where there are some.
        '[' || string_agg(coalesce(left(g.attributes, -1) || ',', '{') || '"id":"d-' || g.delayed || '"}', ',' order by g.due, g.delayed) || ']' as attributes
      from gone g group by g.topic, g.partition)
    select b.topic,
      sum(b.count)::integer as moved,
      array_agg(b.partition order by b.partition) as partitions,
      array_agg(b.count order by b.partition) as counts,
      string_agg(coalesce(b.keys, '[]'), repeat(E'\x1e', 32) order by b.partition) as keys,
      string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes,
      (select u.messages from guarded u where u.topic = b.topic) as messages
    from batch b group by b.topic order by b.topic
  loop
    if v_topic.messages is not null then
      perform sluice.admit(v_topic.topic, v_topic.messages);
    else
      execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, $6, null)', v_topic.topic)
        using v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes, current_setting('synchronous_commit');
    end if;
    moved := moved + v_topic.moved;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  select d.due into v_next from sluice.delayed d where d.due >= v_floor order by d.due, d.delayed limit 1;
  floor := least(v_next, v_now - interval '2 seconds');
  wait_ms := extract(epoch from v_next - clock_timestamp()) * 1000;
  return next;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.move_positions(p_act text, p_positions integer[], p_to text, p_by bigint, p_source integer, p_dry_run boolean, p_force boolean)
 RETURNS TABLE(topic text, partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
 LANGUAGE plpgsql
AS $function$
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
    -- A lease that is being given at this moment is given before this, and void, or after it.
    for v_position in select unnest(p_positions) as position order by 1 loop
      perform pg_advisory_xact_lock(1936487691, v_position.position);
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
      where d.position = v_position.position and d."offset" >= v_position.next_offset), '{}') + coalesce((
      select range_agg(r) from sluice.lease l cross join lateral unnest(l.done) r where l.position = v_position.position), '{}');
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
      update sluice.position p set next_offset = to_offset, done_above = '{}', epoch = p.epoch + 1, committed_at = clock_timestamp(),
        handed_to = 0, suspect_to = 0, crashes = 0
      where p.position = v_position.position;
      delete from sluice.handed_out h where h.position = v_position.position;
      delete from sluice.done d where d.position = v_position.position;
      delete from sluice.lease l where l.position = v_position.position;
      delete from sluice.shared_retry r where r.position = v_position.position;
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.move_to_retry(p_position integer, p_lease bigint, p_offset bigint, p_attempt integer, p_delay_ms double precision, p_error text, p_key text, p_member integer, p_lease_ms bigint, OUT outcome text, OUT claim bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  v_is_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position;
  if not v_is_done then
    insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
    if not found then
      outcome := 'done';
      return;
    end if;
    delete from sluice.done d where d.position = p_position and d."offset" = p_offset;
    -- An earlier try may have moved it while this one waited, and the lease may be gone.
    select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position for update;
  end if;
  if v_is_done is null then
    outcome := 'fenced';
    return;
  end if;
  if v_is_done then
    -- Repeated, because the answer was lost.
    outcome := 'moved';
    claim := (select r.claim from sluice.shared_retry r
      where r.position = p_position and r."offset" = p_offset and r.member = p_member);
    return;
  end if;
  update sluice.lease l set done = l.done + int8multirange(int8range(p_offset, p_offset + 1)) where l.lease = p_lease;
  if p_member is not null then claim := nextval('sluice.claim_number'); end if;
  insert into sluice.shared_retry (position, "offset", attempt, due, error, key, claim, member, lease_until)
  values (p_position, p_offset, p_attempt,
    coalesce(clock_timestamp() + make_interval(secs => p_delay_ms / 1000), 'infinity'), p_error, p_key, claim, p_member,
    case when p_member is not null then clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000) end);
  outcome := 'moved';
end $function$
;

CREATE OR REPLACE FUNCTION sluice.multiply_32(a bigint, b bigint)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN ((((((a >> 16) * b) & (65535)::bigint) << 16) + ((a & (65535)::bigint) * b)) & '4294967295'::bigint)
;

CREATE OR REPLACE FUNCTION sluice.note_half(p_half bigint, p_answer text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_exhausted boolean;
begin
  update sluice.half_message h set
    last_answer = left(p_answer, 500),
    check_at = clock_timestamp()
      + make_interval(secs => least(h.timeout_ms * 2 ^ least(h.checks - 1, 20), greatest(h.timeout_ms, 3600000)) / 1000.0)
  where h.half = p_half and h.state = 'prepared' returning h.checks >= h.max_checks into v_exhausted;
  if v_exhausted then perform sluice.settle_half(p_half); end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.offset_at(p_topic integer, p_partition integer, p_time timestamp with time zone)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.oldest_statement(p_topic integer, p_segment integer)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
RETURN format('with waiting as (
        select e.partition, greatest(b.base_offset, e.below) as first, b.base_offset + b.count as next,
          max(b.appended_at) over (partition by e.partition order by b.base_offset) as age
        from unnest($1, $2) e(partition, below)
        cross join lateral (
          select t.base_offset, t.count, t.appended_at from sluice_log.topic_%1$s_segment_%2$s t
          where t.partition = e.partition and t.base_offset < 4611686018427387904 and t.base_offset >= coalesce((
            select l.base_offset from sluice_log.topic_%1$s_segment_%2$s l
            where l.partition = e.partition and l.base_offset <= e.below order by l.base_offset desc limit 1), 0)
          order by t.base_offset limit $3 + 1) b
        where b.base_offset + b.count > e.below),
      summed as (
        select w.*, sum(w.next - w.first) over (order by w.age, w.partition, w.first) - (w.next - w.first) as before from waiting w),
      gone as (
        select s.partition, max(least(s.next, s.first + $3 - s.before::bigint)) as below from summed s where s.before < $3 group by s.partition)
      select array_agg(coalesce(g.below, e.below) order by e.partition), coalesce(sum(g.below - e.below), 0)::bigint
      from unnest($1, $2) e(partition, below) left join gone g on g.partition = e.partition'::text, p_topic, p_segment)
;

CREATE OR REPLACE FUNCTION sluice.outbox_insert(p_topic integer, p_messages json, p_ring boolean)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.own_position(p_position integer, p_member integer, p_reserve integer)
 RETURNS TABLE(epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer)
 LANGUAGE plpgsql
AS $function$
declare
  v record;
  v_last record;
  v_name text;
begin
  perform sluice.fence_position(p_position);
  select p.epoch, p.owner, p.left_why, m.name, m.lease_until into v
  from sluice.position p left join sluice.member m on m.member = p.owner where p.position = p_position;
  select l.member, l.to_name into v_last from sluice.move l where l.position = p_position order by l.move desc limit 1;
  v_name := coalesce((select m.name from sluice.member m where m.member = p_member), format('member %s', p_member));
  insert into sluice.move (position, epoch, member, from_name, to_name, why)
  values (p_position, v.epoch + 1, p_member, coalesce(v_last.to_name, v.name), v_name, case
    when v.owner is null then coalesce(v.left_why, 'start')
    when v.owner = p_member then case when v_last.member = p_member then 'reset' else 'restart' end
    when coalesce(v_last.to_name, v.name) = v_name then 'reconnect'
    when v.lease_until < clock_timestamp() then 'freeze'
    else 'crash' end);
  return query select t.epoch, t.next_offset, t.done_above, t.suspect_to, t.crashes from sluice.take_over(p_position, p_member, p_reserve) t;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.partition_of_key(key text, partitions integer)
 RETURNS integer
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
declare
  mask constant bigint := 4294967295;
  multiplier constant bigint := 1540483477;
  bytes bytea := convert_to(key, 'UTF8');
  size integer := octet_length(bytes);
  hash bigint := 2538058380 # size;
  word bigint;
  at integer := 0;
begin
  while at + 4 <= size loop
    word := get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8) | (get_byte(bytes, at + 2) << 16)
      | (get_byte(bytes, at + 3)::bigint << 24);
    word := sluice.multiply_32(word, multiplier);
    word := word # (word >> 24);
    word := sluice.multiply_32(word, multiplier);
    hash := sluice.multiply_32(hash, multiplier) # word;
    at := at + 4;
  end loop;
  if size - at >= 3 then hash := hash # (get_byte(bytes, at + 2)::bigint << 16); end if;
  if size - at >= 2 then hash := hash # (get_byte(bytes, at + 1)::bigint << 8); end if;
  if size - at >= 1 then
    hash := hash # get_byte(bytes, at)::bigint;
    hash := sluice.multiply_32(hash, multiplier);
  end if;
  hash := hash # (hash >> 13);
  hash := sluice.multiply_32(hash, multiplier);
  hash := hash # (hash >> 15);
  return ((hash & 2147483647) % partitions)::integer;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.pass_over(p_position integer, p_epoch bigint, p_ranges int8multirange)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position p where p.position = p_position and p.epoch = p_epoch;
  return case when found then sluice.count_dropped(p_position, p_ranges) end;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.pass_over_shared(p_positions integer[])
 RETURNS TABLE("position" integer, from_offset bigint, to_offset bigint)
 LANGUAGE plpgsql
AS $function$
begin
  for "position" in select unnest(p_positions) order by 1 loop
    -- The mark first and without the lock: nearly always there is nothing to pass over.
    continue when not exists (select from sluice.position p
      where p.position = pass_over_shared."position" and p.next_offset < sluice.dropped_below(p.topic, p.partition));
    perform pg_advisory_xact_lock(1936487691, "position");
    -- As sluice.lease_ranges looks for where the next range begins.
    select greatest(p.next_offset, upper(p.done_above), (
        select max(l.to_offset) from sluice.lease l
        where l.position = p.position and l.to_offset > greatest(p.next_offset, upper(p.done_above)))),
      sluice.dropped_below(p.topic, p.partition)
    into from_offset, to_offset from sluice.position p where p.position = pass_over_shared."position";
    continue when from_offset >= to_offset;
    perform sluice.count_dropped("position", int8multirange(int8range(from_offset, to_offset)));
    perform sluice.fold_done("position", int8multirange(int8range(from_offset, to_offset)));
    return next;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.pause_group("group" text, topic text DEFAULT NULL::text, partition integer DEFAULT NULL::integer, reason text DEFAULT NULL::text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.pause_member(member integer, reason text DEFAULT NULL::text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
  v_name text := sluice.member_name(pause_member.member);
begin
  update sluice.member m set paused_at = clock_timestamp(), paused_by = sluice.actor(), paused_reason = pause_member.reason
  where m.member = pause_member.member and m.paused_at is null;
  if not found then return false; end if;
  perform sluice.write_audit('pause member', format('member %s', pause_member.member),
    json_build_object('name', v_name, 'reason', pause_member.reason));
  perform sluice.ring_groups_of(pause_member.member);
  return true;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.pause_position(p_position integer, p_epoch bigint, p_reason text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.pause_schedule(name text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(pause_schedule.name);
begin
  update sluice.schedule s set paused = true, revision = s.revision + 1 where s.schedule = v_schedule.schedule;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.positions_of(p_group text, p_topic text, p_partitions integer[])
 RETURNS integer[]
 LANGUAGE plpgsql
 STABLE
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.prepare(topic text, value json, check_back text, key text DEFAULT NULL::text, headers json DEFAULT NULL::json, partition integer DEFAULT NULL::integer, timeout interval DEFAULT '00:01:00'::interval, max_checks integer DEFAULT 15, on_undecided text DEFAULT 'keep'::text, priority integer DEFAULT 0)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer;
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
  v_partition := sluice.lane_of(v_topic, prepare.key, prepare.partition, prepare.priority);
  return sluice.prepare_half(v_topic.topic, v_partition, prepare.key, prepare.value::text,
    case when prepare.headers is not null then json_build_object('headers', prepare.headers)::text end,
    prepare.check_back, (extract(epoch from prepare.timeout) * 1000)::bigint, prepare.max_checks, prepare.on_undecided);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.prepare_half(p_topic integer, p_partition integer, p_key text, p_value text, p_attributes text, p_check_back text, p_timeout_ms bigint, p_max_checks integer, p_on_undecided text)
 RETURNS bigint
 LANGUAGE sql
BEGIN ATOMIC
 INSERT INTO sluice.half_message (topic, partition, key, value, attributes, check_back, timeout_ms, max_checks, on_undecided, check_at)
   VALUES (prepare_half.p_topic, prepare_half.p_partition, prepare_half.p_key, prepare_half.p_value, prepare_half.p_attributes, prepare_half.p_check_back, prepare_half.p_timeout_ms, prepare_half.p_max_checks, prepare_half.p_on_undecided, (clock_timestamp() + make_interval(secs => (((prepare_half.p_timeout_ms)::numeric / 1000.0))::double precision)))
   RETURNING half_message.half;
END
;

CREATE OR REPLACE FUNCTION sluice.purge_dead_letters(before timestamp with time zone, "group" text DEFAULT NULL::text, topic text DEFAULT NULL::text)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.put_off(p_position integer, p_epoch bigint, p_messages json)
 RETURNS TABLE("offset" bigint, outcome text)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return; end if;
  return query
    with failed as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due
      from json_to_recordset(p_messages) as m(
        "offset" bigint, first boolean, attempt integer, delay_ms double precision, blocks text, id text, key text, value text,
        headers json, timestamp_ms double precision, error text)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from failed f where r.position = p_position and r."offset" = f."offset"
      returning r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select p_position, f."offset" from failed f
      where f.first and not exists (select from sluice.retry r where r.position = p_position and r."offset" = f."offset")
      order by f."offset" on conflict do nothing
      returning "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error)
      select p_position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error
      from failed f join marked m using ("offset")
      returning "offset")
    select f."offset", case when a."offset" is null and d."offset" is null then 'already' else 'put off' end
    from failed f left join again a using ("offset") left join added d using ("offset");
end $function$
;

CREATE OR REPLACE FUNCTION sluice.put_off_all(p_positions integer[], p_messages json)
 RETURNS TABLE(number integer, outcome text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.raise_marks(p_topic integer, p_partitions integer[], p_below bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  insert into sluice.drop_mark (topic, partition, below, dropped)
  select p_topic, e.partition, e.below, e.below - w."offset" + coalesce((select m.dropped from sluice.drop_mark m
    where m.topic = p_topic and m.partition = e.partition order by m.below desc limit 1), 0)
  from unnest(p_partitions, p_below) e(partition, below)
  join sluice.waiting_from(p_topic) w on w.partition = e.partition
  where e.below > w."offset";
end $function$
;

CREATE OR REPLACE FUNCTION sluice.raise_priorities(topic text, priorities integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_topic sluice.topic%rowtype;
  v_partitions integer;
  v_consumers text;
begin
  if raise_priorities.priorities is null or raise_priorities.priorities not between 1 and 10 then
    raise exception 'sluice: a topic has 1 to 10 priorities, not %', coalesce(raise_priorities.priorities::text, 'null')
      using errcode = '22023';
  end if;
  select * into v_topic from sluice.topic t where t.name = raise_priorities.topic;
  if not found then
    raise exception 'sluice: there is no topic %', quote_literal(raise_priorities.topic) using errcode = '42704';
  end if;
  perform pg_advisory_xact_lock(1936487681, v_topic.topic);
  select * into v_topic from sluice.topic t where t.topic = v_topic.topic;
  if raise_priorities.priorities <= v_topic.priorities then return v_topic.priorities; end if;
  v_partitions := v_topic.partitions / v_topic.priorities * raise_priorities.priorities;
  if v_partitions > 1024 then
    raise exception 'sluice: topic % would have % partitions, and 1024 is the most: % times % priorities',
      quote_literal(v_topic.name), v_partitions, v_topic.partitions / v_topic.priorities, raise_priorities.priorities
      using errcode = '22023';
  end if;
  select string_agg(distinct format('%s (group %s)', m.name, g.name), ', ') into v_consumers
  from sluice.subscription s join sluice.member m using (member) join sluice.consumer_group g using ("group")
  where s.topic = v_topic.topic and (m.lease_until > clock_timestamp() or m.member in (select sluice.live_members()));
  if v_consumers is not null then
    raise exception 'sluice: topic % has % priorities and cannot get % while it is consumed, by %', quote_literal(v_topic.name),
      v_topic.priorities, raise_priorities.priorities, v_consumers
      using errcode = '55006', hint = 'Stop the apps that consume it, then raise the priorities, then start them.';
  end if;
  -- Who means an older segment knows nothing of the new lanes, so they begin in the newest.
  insert into sluice.segment_start (topic, segment, partition, start_offset)
  select v_topic.topic, (select max(s.segment) from sluice.segment s where s.topic = v_topic.topic), n.partition, 0
  from generate_series(v_topic.partitions, v_partitions - 1) n(partition);
  insert into sluice.position ("group", topic, partition, next_offset)
  select distinct p."group", p.topic, n.partition, 0
  from sluice.position p cross join generate_series(v_topic.partitions, v_partitions - 1) n(partition)
  where p.topic = v_topic.topic order by n.partition
  on conflict on constraint position_unique do nothing;
  update sluice.topic t set partitions = v_partitions, priorities = raise_priorities.priorities where t.topic = v_topic.topic;
  return raise_priorities.priorities;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.ready_positions(p_positions integer[], p_most integer)
 RETURNS SETOF integer
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  v_topic integer := (select p.topic from sluice.position p where p.position = p_positions[1]);
  v_segment integer := (select max(s.segment) from sluice.segment s where s.topic = v_topic);
begin
  if v_segment is null then return; end if;
  -- Where the log ends, as in sluice.end_offset, against what is leased, as in sluice.lease_ranges.
  return query execute format($sql$
    select p.position from unnest($1) with ordinality a(position, number) join sluice.position p using (position)
    where coalesce(
      (select b.base_offset + b.count from sluice_log.topic_%1$s_segment_%2$s b
        where b.partition = p.partition order by b.base_offset desc limit 1),
      (select s.start_offset from sluice.segment_start s
        where s.topic = %1$s and s.segment = %2$s and s.partition = p.partition))
      > greatest(p.next_offset, upper(p.done_above), (
        select max(l.to_offset) from sluice.lease l
        where l.position = p.position and l.to_offset > greatest(p.next_offset, upper(p.done_above))))
    order by a.number limit $2$sql$, v_topic, v_segment)
  using p_positions, p_most;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.recall(id text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  if recall.id is null or recall.id !~ '^d-[0-9]{1,18}$' then return false; end if;
  delete from sluice.delayed d where d.delayed = substr(recall.id, 3)::bigint;
  return found;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.redrive(dead_letters bigint[])
 RETURNS TABLE(dead_letter bigint, outcome text)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.redrive_group("group" text, topic text DEFAULT NULL::text, "limit" integer DEFAULT 1000, died_before timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.refresh_depths()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_topic integer;
  v_depth bigint;
begin
  for v_topic in select g.topic from sluice.guard g where g.max_depth is not null order by g.topic loop
    execute format('select sluice_log.depth_%s()', v_topic) into v_depth;
    if v_depth is null then
      perform pg_advisory_xact_lock(1936487681, v_topic);
      perform sluice.create_depth_function(v_topic);
    end if;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.register_consumer(p_group integer, p_topic integer, p_mode text, p_protected boolean)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
  insert into sluice.group_topic as g ("group", topic, mode, protected) values (p_group, p_topic, p_mode, p_protected)
  on conflict ("group", topic) do update set protected = excluded.protected
  where g.mode = excluded.mode and g.protected <> excluded.protected;
  return (select mode from sluice.group_topic where "group" = p_group and topic = p_topic);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.relay(p_epoch bigint, p_since pg_snapshot, p_limit integer)
 RETURNS TABLE(moved integer, rings text[], snapshot pg_snapshot)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_look_bytes constant bigint := 8 * 1048576;
  v_now pg_snapshot;
  v_begun xid8 := coalesce(pg_snapshot_xmax(p_since), '0'::xid8);
  v_bytes bigint := 0;
  v_topic record;
begin
  perform sluice.assert_duty(1, p_epoch);
  v_now := pg_current_snapshot();
  moved := 0;
  rings := '{}';
  for v_topic in
    with picked as materialized (
      select s.xid, s.outbox, s.bytes
      from (
        -- (The size of a value is known without reading it.)
        select c.*, sum(c.bytes) over (order by c.xid, c.outbox rows unbounded preceding) - c.bytes as before
        from (
          select o.xid, o.outbox, octet_length(o.value) + coalesce(octet_length(o.attributes), 0) as bytes
          from sluice.outbox o
          where o.xid = any (array(select pg_snapshot_xip(p_since))) and pg_visible_in_snapshot(o.xid, v_now)
          union all
          (select o.xid, o.outbox, octet_length(o.value) + coalesce(octet_length(o.attributes), 0)
          from sluice.outbox o
          where o.xid >= v_begun and o.xid < pg_snapshot_xmax(v_now) and pg_visible_in_snapshot(o.xid, v_now)
          order by o.xid, o.outbox limit p_limit)
          order by xid, outbox limit p_limit
        ) c
      ) s where s.before < v_look_bytes),
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
      (select sum(p.bytes) from picked p) as bytes,
      array_agg(b.partition order by b.partition) as partitions,
      array_agg(b.count order by b.partition) as counts,
      string_agg(coalesce(b.keys, '[]'), repeat(E'\x1e', 32) order by b.partition) as keys,
      string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes
    from batch b group by b.topic
    union all
    -- What was held comes before what is new.
    select t.topic, 0, 0, null, null, null, null, null
    from sluice.guard t where exists (select from sluice.held h where h.topic = t.topic)
    order by topic, moved
  loop
    if v_topic.moved = 0 then
      rings := rings || array(select r.ring from sluice.let_held_in(v_topic.topic, p_limit, v_look_bytes) r(ring));
      continue;
    end if;
    perform sluice.let_in(v_topic.topic, v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes);
    moved := moved + v_topic.moved;
    v_bytes := v_topic.bytes;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  snapshot := case when moved < p_limit and v_bytes < v_look_bytes then v_now else p_since end;
  return next;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.release_group("group" text, messages integer, per interval, topic text DEFAULT NULL::text, until timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.release_leases(p_leases bigint[])
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 UPDATE sluice.lease SET member = NULL::integer
   WHERE (lease.lease = ANY (release_leases.p_leases));
END
;

CREATE OR REPLACE FUNCTION sluice.release_left(p_group integer, p_topic integer, p_ends bigint[])
 RETURNS bigint
 LANGUAGE sql
 STABLE
RETURN (SELECT (COALESCE(sum(GREATEST((0)::bigint, ((release_left.p_ends)[(p.partition + 1)] - p.next_offset))), (0)::numeric))::bigint AS "coalesce" FROM sluice."position" p WHERE ((p."group" = release_left.p_group) AND (p.topic = release_left.p_topic)))
;

CREATE OR REPLACE FUNCTION sluice.release_position(p_position integer, p_epoch bigint)
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 UPDATE sluice."position" SET owner = NULL::integer, handed_to = 0
   WHERE (("position"."position" = release_position.p_position) AND ("position".epoch = release_position.p_epoch));
END
;

CREATE OR REPLACE FUNCTION sluice.remove_schedule(name text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(remove_schedule.name);
begin
  delete from sluice.schedule s where s.schedule = v_schedule.schedule;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.reply(headers json, value json, failure text DEFAULT NULL::text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  v_inbox text := reply.headers ->> 'reply-to';
  v_correlation text := reply.headers ->> 'correlation-id';
  v_within text := reply.headers ->> 'reply-within-ms';
  v_kept boolean;
begin
  if v_inbox is null then return false; end if;
  if v_correlation is null then
    raise exception 'sluice: the header reply-to asks for an answer, and the header correlation-id is missing' using errcode = '22023';
  end if;
  if (reply.value is null) = (reply.failure is null) then
    raise exception 'sluice: an answer is a value or a failure, one of the two'
      using errcode = '22023', hint = 'Answer with the JSON null: ''null''.';
  end if;
  -- A text that Postgres cannot show would make the view sluice.replies fail for whoever reads it.
  perform reply.value::jsonb;
  v_kept := sluice.keep_reply(v_inbox, v_correlation, case when v_within ~ '^[0-9]{1,10}$' then v_within::bigint else 30000 end,
    reply.value::text, reply.failure);
  if v_kept then perform pg_notify('sluice_inbox_' || v_inbox, v_correlation); end if;
  return v_kept;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.reserve_pace(p_group integer, p_topic integer, p_key text, p_count integer, p_interval_ms double precision)
 RETURNS double precision
 LANGUAGE plpgsql
AS $function$
declare
  v_now timestamptz := clock_timestamp();
  v_length interval := make_interval(secs => p_count * p_interval_ms / 1000);
  v_end timestamptz;
begin
  insert into sluice.pace as p ("group", topic, key, next_at) values (p_group, p_topic, p_key, v_now + v_length)
  on conflict ("group", topic, key) do update set next_at = greatest(p.next_at, v_now) + v_length
  returning next_at into v_end;
  return extract(epoch from v_end - v_length - clock_timestamp()) * 1000;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.reserve_pace(p_group integer, p_topic integer, p_key text, p_count integer, p_interval_ms double precision, p_since timestamp with time zone)
 RETURNS double precision
 LANGUAGE plpgsql
AS $function$
declare
  v_now timestamptz := clock_timestamp();
  v_one interval := make_interval(secs => p_interval_ms / 1000);
  v_length interval := make_interval(secs => p_count * p_interval_ms / 1000);
  v_end timestamptz;
begin
  insert into sluice.pace as p ("group", topic, key, next_at, since) values (p_group, p_topic, p_key, v_now + v_length, p_since)
  on conflict ("group", topic, key) do update
  set next_at = greatest(v_now, case when excluded.since > p.since then least(p.next_at, v_now + v_one) else p.next_at end) + v_length,
    since = greatest(p.since, excluded.since)
  returning next_at into v_end;
  return extract(epoch from v_end - v_length - clock_timestamp()) * 1000;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.reset_position("group" text, topic text, "to" text, partitions integer[] DEFAULT NULL::integer[], dry_run boolean DEFAULT false, force boolean DEFAULT false)
 RETURNS TABLE(partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
 LANGUAGE sql
AS $function$
  select m.partition, m.from_offset, m.to_offset, m.skipped, m.repeated, m.note
  from sluice.move_positions('reset', sluice.positions_of($1, $2, $4), $3, null, null, $5, $6) m
$function$
;

CREATE OR REPLACE FUNCTION sluice.resume_group("group" text, topic text DEFAULT NULL::text, partition integer DEFAULT NULL::integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(resume_group."group");
  v_topic integer := case when resume_group.topic is not null then sluice.topic_number(resume_group.topic) end;
  v_ended integer;
  v_released integer;
begin
  delete from sluice.pause s
  where s."group" = v_group and (v_topic is null or s.topic = v_topic)
    and (resume_group.partition is null or s.partition = resume_group.partition);
  get diagnostics v_ended = row_count;
  delete from sluice.release r
  where r."group" = v_group and (v_topic is null or r.topic = v_topic) and resume_group.partition is null;
  get diagnostics v_released = row_count;
  if v_ended + v_released = 0 then return 0; end if;
  perform sluice.write_audit('resume', format('group %s', resume_group."group"),
    json_build_object('topic', resume_group.topic, 'partition', resume_group.partition, 'ended', v_ended));
  perform pg_notify('sluice', 'group ' || v_group);
  return v_ended;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.resume_member(member integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
  v_name text := sluice.member_name(resume_member.member);
begin
  update sluice.member m set paused_at = null, paused_by = null, paused_reason = null
  where m.member = resume_member.member and m.paused_at is not null;
  if not found then return false; end if;
  perform sluice.write_audit('resume member', format('member %s', resume_member.member), json_build_object('name', v_name));
  perform sluice.ring_groups_of(resume_member.member);
  return true;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.resume_schedule(name text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(resume_schedule.name);
begin
  update sluice.schedule s set paused = false, next_at = null, revision = s.revision + 1
  where s.schedule = v_schedule.schedule and s.paused;
  if found then perform pg_notify('sluice', 'schedule'); end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.retention_bounds(p_topic integer)
 RETURNS TABLE(partition integer, consumed_to bigint, protected_from bigint)
 LANGUAGE sql
 STABLE
AS $function$
  select n.partition, min(held.until), min(held.until) filter (where held.protected)
  from sluice.topic t
  cross join lateral generate_series(0, t.partitions - 1) n(partition)
  left join lateral (
    select least(case when m.below > p.next_offset
        then least(m.below, (select min(l.from_offset) from sluice.lease l where l.position = p.position)) else p.next_offset end,
      (select min(r."offset") from sluice.shared_retry r where r.position = p.position)) as until,
      coalesce(gt.protected, false) as protected
    from sluice.position p left join sluice.group_topic gt on gt."group" = p."group" and gt.topic = p.topic
    cross join lateral (select sluice.dropped_below(p.topic, p.partition) as below) m
    where p.topic = t.topic and p.partition = n.partition) held on true
  where t.topic = p_topic
  group by n.partition
$function$
;

CREATE OR REPLACE FUNCTION sluice.ring_for_due(p_due timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  if p_due < clock_timestamp() + interval '300 milliseconds' then
    perform pg_notify('sluice', 'delay');
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.ring_groups_of(p_member integer)
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 SELECT pg_notify('sluice'::text, ('group '::text || g."group")) AS pg_notify
    FROM ( SELECT DISTINCT s."group"
            FROM sluice.subscription s
           WHERE (s.member = ring_groups_of.p_member)) g;
END
;

CREATE OR REPLACE FUNCTION sluice.roll_segment(p_topic integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_partitions integer;
  v_segment integer;
begin
  perform pg_advisory_xact_lock(1936487681, p_topic);
  select partitions into strict v_partitions from sluice.topic where topic = p_topic;
  select max(segment) into strict v_segment from sluice.segment where topic = p_topic;
  perform sluice.create_segment_table(p_topic, v_segment + 1);
  for v_partition in 0 .. v_partitions - 1 loop
    perform pg_advisory_xact_lock(1936487682, p_topic * 1024 + v_partition);
  end loop;
  insert into sluice.segment (topic, segment) values (p_topic, v_segment + 1);
  execute format($sql$
    insert into sluice.segment_start (topic, segment, partition, start_offset)
    select s.topic, %2$s + 1, s.partition, coalesce(
      (select b.base_offset + b.count from sluice_log.topic_%1$s_segment_%2$s b
        where b.partition = s.partition order by b.base_offset desc limit 1),
      s.start_offset)
    from sluice.segment_start s where s.topic = %1$s and s.segment = %2$s$sql$, p_topic, v_segment);
  -- The seal: an empty batch at an offset that nothing reaches (2^62), where an append that still means this segment
  -- finds it as the last one, at no cost to those that do not.
  execute format($sql$
    insert into sluice_log.topic_%1$s_segment_%2$s (segment, partition, base_offset, count, appended_at, records)
    select %2$s, partition, 4611686018427387904, 0, clock_timestamp(), '[]'
    from generate_series(0, %3$s - 1) partition$sql$, p_topic, v_segment, v_partitions);
  perform sluice.create_append_function(p_topic);
  return v_segment + 1;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.rollback_half(half bigint, decided_by text DEFAULT 'caller'::text)
 RETURNS TABLE(outcome text, decided boolean, message text)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.run_schedule(name text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(run_schedule.name);
begin
  return sluice.send_scheduled(v_schedule, clock_timestamp());
end $function$
;

CREATE OR REPLACE FUNCTION sluice.send(topic text, value json, key text DEFAULT NULL::text, headers json DEFAULT NULL::json, partition integer DEFAULT NULL::integer, deliver_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval, priority integer DEFAULT 0)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer;
  v_attributes text;
  v_name text;
  v_header text;
  v_due timestamptz;
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
    v_attributes := json_build_object('headers', send.headers)::text;
  end if;
  v_partition := sluice.lane_of(v_topic, send.key, send.partition, send.priority);
  if send.deliver_at is null and send.delay is null then
    insert into sluice.outbox (topic, partition, key, value, attributes)
    values (v_topic.topic, v_partition, send.key, send.value::text, v_attributes)
    returning 'o-' || outbox into v_id;
    perform pg_notify('sluice', 'outbox');
  else
    v_due := sluice.due_time(send.deliver_at, send.delay);
    insert into sluice.delayed (due, topic, partition, key, value, attributes)
    values (v_due, v_topic.topic, v_partition, send.key, send.value::text, v_attributes)
    returning 'd-' || delayed into v_id;
    perform sluice.ring_for_due(v_due);
  end if;
  return v_id;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.send_once(topic text, message_id text, value json, key text DEFAULT NULL::text, headers json DEFAULT NULL::json, partition integer DEFAULT NULL::integer, priority integer DEFAULT 0)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.send_scheduled(p_schedule sluice.schedule, p_tick timestamp with time zone)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  v_topic sluice.topic%rowtype;
  v_headers jsonb := p_schedule.headers::jsonb || jsonb_build_object('sluice-schedule', p_schedule.name,
    'sluice-tick', to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  v_id text;
begin
  select * into strict v_topic from sluice.topic t where t.topic = p_schedule.topic;
  insert into sluice.outbox (topic, partition, key, value, attributes)
  values (p_schedule.topic,
    sluice.lane_of(v_topic, p_schedule.key, null, p_schedule.priority),
    p_schedule.key, p_schedule.value, jsonb_build_object('headers', v_headers)::text)
  returning 'o-' || outbox into v_id;
  update sluice.schedule s set last_at = clock_timestamp(), last_tick = p_tick, last_id = v_id where s.schedule = p_schedule.schedule;
  perform pg_notify('sluice', 'outbox');
  return v_id;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.settle_half(p_half bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  if exists (select from sluice.half_message h where h.half = p_half and h.on_undecided = 'rollback') then
    perform sluice.rollback_half(p_half, 'limit');
  else
    update sluice.half_message h set state = 'undecided' where h.half = p_half and h.state = 'prepared';
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.settle_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[])
 RETURNS SETOF integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
declare
  v_gone integer;
begin
  perform sluice.hold_fences(p_positions);
  delete from sluice.retry r
  using unnest(p_positions, p_epochs, p_offsets) as a(position, epoch, "offset")
  where r.position = a.position and r."offset" = a."offset"
    and exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch);
  get diagnostics v_gone = row_count;
  if v_gone = cardinality(p_offsets) then return; end if;
  return query
    select a.number::integer
    from unnest(p_positions, p_epochs) with ordinality as a(position, epoch, number)
    where not exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.shift_position("group" text, topic text, by bigint, partitions integer[] DEFAULT NULL::integer[], dry_run boolean DEFAULT false, force boolean DEFAULT false)
 RETURNS TABLE(partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
 LANGUAGE sql
AS $function$
  select m.partition, m.from_offset, m.to_offset, m.skipped, m.repeated, m.note
  from sluice.move_positions('shift', sluice.positions_of($1, $2, $4), null, coalesce($3, 0), null, $5, $6) m
$function$
;

CREATE OR REPLACE FUNCTION sluice.start_offset(p_topic integer, p_partition integer)
 RETURNS bigint
 LANGUAGE sql
 STABLE
RETURN (SELECT s.start_offset FROM sluice.segment_start s WHERE ((s.topic = start_offset.p_topic) AND (s.partition = start_offset.p_partition)) ORDER BY s.segment LIMIT 1)
;

CREATE OR REPLACE FUNCTION sluice.take_duty(p_duty integer, p_owner text)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  v_epoch bigint;
begin
  perform pg_advisory_xact_lock(1936487687, p_duty);
  update sluice.duty set epoch = epoch + 1, owner = p_owner, since = clock_timestamp() where duty = p_duty returning epoch into v_epoch;
  return v_epoch;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.take_free(p_position integer, p_member integer, p_reserve integer)
 RETURNS TABLE(epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer)
 LANGUAGE plpgsql
AS $function$
begin
  if sluice.is_anothers(p_position, p_member) then return; end if;
  perform sluice.fence_position(p_position);
  if sluice.is_anothers(p_position, p_member) then return; end if;
  return query select t.epoch, t.next_offset, t.done_above, t.suspect_to, t.crashes from sluice.own_position(p_position, p_member, p_reserve) t;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.take_free_duty(p_duty integer, p_owner text, p_member integer)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  v_epoch bigint;
begin
  if sluice.is_anothers_duty(p_duty, p_member) then return null; end if;
  perform pg_advisory_xact_lock(1936487687, p_duty);
  if sluice.is_anothers_duty(p_duty, p_member) then return null; end if;
  v_epoch := sluice.lead_duty(p_duty, p_owner);
  update sluice.duty set member = p_member where duty = p_duty;
  return v_epoch;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.take_over(p_position integer, p_member integer, p_reserve integer)
 RETURNS TABLE(epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_handed_to bigint;
  v_crashes integer;
begin
  perform pg_advisory_xact_lock(1936487683, p_position);
  -- Under the fence nobody else writes it.
  select case when p.handed_to > p.next_offset then least(p.handed_to, sluice.end_offset(p.topic, p.partition)) else p.handed_to end
  into v_handed_to from sluice.position p where p.position = p_position;
  select case when v_handed_to > p.next_offset and p.next_offset < p.suspect_to then p.crashes + 1
    when v_handed_to > p.next_offset then 1
    when p.next_offset < p.suspect_to then p.crashes
    else 0 end into v_crashes from sluice.position p where p.position = p_position;
  delete from sluice.done d using sluice.position p
  where p.position = p_position and d.position = p_position and d."offset" < p.next_offset;
  return query
    update sluice.position p set
      epoch = p.epoch + 1,
      owner = p_member,
      handed_to = p.next_offset + case when v_crashes > 1 then least(p_reserve, 16) else p_reserve end,
      crashes = v_crashes,
      suspect_to = case when v_handed_to <= p.next_offset then p.suspect_to
        when p.next_offset >= p.suspect_to then v_handed_to
        when p.crashes < 6 then least(p.suspect_to, v_handed_to)
        else greatest(p.suspect_to, v_handed_to) end,
      done_above = p.done_above + coalesce(
        (select range_agg(int8range(o."offset", o."offset" + 1)) from (
          select d."offset" from sluice.done d where d.position = p_position
          union all select r."offset" from sluice.retry r where r.position = p_position) o
        where o."offset" >= p.next_offset),
        '{}')
    where p.position = p_position
    returning p.epoch, p.next_offset, p.done_above::text, p.suspect_to, p.crashes;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.take_over_leases(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
 RETURNS TABLE(lease bigint, "position" integer, from_offset bigint, to_offset bigint, done text, deliveries smallint)
 LANGUAGE plpgsql
AS $function$
declare
  v record;
begin
  perform set_config('lock_timeout', '2s', true);
  for v in
    select l.lease, l.position from sluice.lease l
    where l.position = any (p_positions)
      and (l.member is null or l.member not in (select sluice.live_members())
        or sluice.has_run_out(l.lease_until, l.member, p_member, p_lease_ms))
    order by l.position, l.to_offset limit p_most
  loop
    perform pg_advisory_xact_lock(1936487683, v.position);
    -- It may have been renewed, or taken by another, while this waited.
    return query
      update sluice.lease l set lease = default, member = p_member,
        deliveries = l.deliveries + (l.member is not null)::integer,
        done = l.done + coalesce(
          (select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d
            where d.position = l.position and d."offset" >= l.from_offset and d."offset" < l.to_offset), '{}'),
        lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
      where l.lease = v.lease
        and (l.member is null or l.member not in (select sluice.live_members())
          or sluice.has_run_out(l.lease_until, l.member, p_member, p_lease_ms))
      returning l.lease, l.position, l.from_offset, l.to_offset, l.done::text, l.deliveries;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.take_position(p_position integer, p_member integer)
 RETURNS TABLE(epoch bigint, next_offset bigint, done_above text)
 LANGUAGE plpgsql
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION sluice.time_of_ms(p_ms bigint)
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE PARALLEL SAFE STRICT
RETURN (('1970-01-01 00:00:00+00'::timestamp with time zone + (((p_ms / 1000))::double precision * '00:00:01'::interval)) + (((p_ms % (1000)::bigint))::double precision * '00:00:00.001'::interval))
;

CREATE OR REPLACE FUNCTION sluice.topic_number(p_name text)
 RETURNS integer
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  v_topic integer;
begin
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if v_topic is null then
    raise exception 'sluice: there is no topic %; nothing was changed', p_name
      using errcode = 'SL033', hint = 'select name from sluice.topics lists those there are.';
  end if;
  return v_topic;
end $function$
;

CREATE OR REPLACE FUNCTION sluice.unpaused(p_positions integer[])
 RETURNS integer[]
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
  if not exists (select from sluice.pause) then return p_positions; end if;
  return array(
    select p.position from unnest(p_positions) with ordinality a(position, number) join sluice.position p using (position)
    where not sluice.is_paused(p."group", p.topic, p.partition) order by a.number);
end $function$
;

CREATE OR REPLACE FUNCTION sluice.waiting_from(p_topic integer)
 RETURNS TABLE(partition integer, "offset" bigint)
 LANGUAGE sql
 STABLE
BEGIN ATOMIC
 SELECT s.partition,
     GREATEST(( SELECT f.start_offset
            FROM sluice.segment_start f
           WHERE ((f.topic = s.topic) AND (f.partition = s.partition))
           ORDER BY f.segment
          LIMIT 1), sluice.dropped_below(s.topic, s.partition), ( SELECT min(p.next_offset) AS min
            FROM sluice."position" p
           WHERE ((p.topic = s.topic) AND (p.partition = s.partition)))) AS "greatest"
    FROM sluice.segment_start s
   WHERE ((s.topic = waiting_from.p_topic) AND (s.segment = ( SELECT max(f.segment) AS max
            FROM sluice.segment f
           WHERE (f.topic = waiting_from.p_topic))));
END
;

CREATE OR REPLACE FUNCTION sluice.write_audit(p_act text, p_subject text, p_details json)
 RETURNS void
 LANGUAGE sql
BEGIN ATOMIC
 INSERT INTO sluice.audit (who, act, subject, details)
   VALUES (sluice.actor(), write_audit.p_act, write_audit.p_subject, write_audit.p_details);
END
;

-- Comments

comment on column sluice."position".crashes is 'Processes that ended while next_offset was below suspect_to.';
comment on column sluice."position".done_above is 'What is done at or above next_offset: handlers of one partition finish out of order.';
comment on column sluice."position".epoch is 'Counts the owners. What an older owner writes is refused.';
comment on column sluice."position".handed_to is 'Messages from next_offset up to here may be in a handler''s hands; 0 when the position was given back.';
comment on column sluice."position".left_why is 'Why its last owner gave it back; counts while there is none.';
comment on column sluice."position".next_offset is 'Everything below is done.';
comment on column sluice."position".owner is 'The member that took it last; null when it was given back. It still has it while the session lock (1936487684, position) is held or, if it is leased, while its lease runs.';
comment on column sluice."position".suspect_to is 'Messages below were possibly being handled by each of the processes that ended.';
comment on column sluice.assignments.assignment is 'How the group''s partitions are assigned: sticky, range or round-robin, as its oldest member wants it; null: it has none.';
comment on column sluice.assignments.epoch is 'Counts the owners.';
comment on column sluice.assignments.held is 'Whether its owner''s session is there and has it. False with an owner: it is awaited back, or about to be replaced.';
comment on column sluice.assignments.member is 'The number of its owner in sluice.members; null when nobody has it.';
comment on column sluice.assignments.since is 'When its owner took it.';
comment on column sluice.assignments.static_id is 'The name under which its owner keeps it over a restart; null: it does not.';
comment on column sluice.assignments.why is 'Why it came to its last owner, as in sluice.moves.';
comment on column sluice.audits.who is 'The database user, and what its application calls itself.';
comment on column sluice.dead_letter.edited_by is 'Who edited it last: the database user and the application''s name.';
comment on column sluice.dead_letter.original_headers is 'What the headers were before the first edit; null when those were never edited.';
comment on column sluice.dead_letter.original_value is 'What the value was before the first edit; null when that was never edited.';
comment on column sluice.dead_letter.redrives is 'How often it was handed over again and died again.';
comment on column sluice.dead_letters.reason is 'exhausted: its last attempt failed. schema: it does not fit the topic''s schema. expired: its time to live was over. rejected: the handler refused it.';
comment on column sluice.delayed.delayed is 'Its id is d-<this>.';
comment on column sluice.delayed.due is 'By the database''s clock; never earlier does the message enter the log.';
comment on column sluice.delayed_messages.due is 'Not earlier by the database''s clock does it enter the log, and little later while an app runs.';
comment on column sluice.delayed_messages.id is 'What sluice.recall takes, and the message''s id for ever.';
comment on column sluice.delayed_messages.queued_at is 'When it was sent.';
comment on column sluice.delayed_messages.value is 'As it will stand in the log: JSON, or base64 text where the topic holds bytes.';
comment on column sluice.drop_mark.below is 'Messages below wait no more: who has not begun them passes over them.';
comment on column sluice.drop_mark.dropped is 'How many messages of the partition were dropped while they waited, ever.';
comment on column sluice.drops.dropped is 'Messages that were never handed over to the group, each counted once, when it passed over them.';
comment on column sluice.drops.dropped_below is 'Messages below wait no more.';
comment on column sluice.duty.left_epoch is 'The last epoch whose owner let the duty go by itself.';
comment on column sluice.duty.member is 'The member that took it last; null when it let it go, and before there were any.';
comment on column sluice.group_topic.mode is 'assigned: a partition has one owner. shared: members lease ranges of it. broadcast: each member reads all of it and keeps its own place.';
comment on column sluice.group_topic.protected is 'Whether retention keeps what the group has not passed.';
comment on column sluice.groups.paused_partitions is 'How many of its partitions hand over nothing at present; sluice.lag says which.';
comment on column sluice.guard.deduplicate_ms is 'For how long after a message id was sent it is not taken again; null: ids are not looked at.';
comment on column sluice.guard.max_depth is 'How many messages may wait. Null: as many as there is room on disk.';
comment on column sluice.guard.overflow is 'reject: a send for which there is no room fails. drop-oldest: it makes room.';
comment on column sluice.guard.time_to_live_ms is 'How long after its append a message may be handed over, unless it says so itself; null: for ever.';
comment on column sluice.guards.deduplicate is 'For how long a message id is not taken again; null: ids are not looked at.';
comment on column sluice.guards.depth is 'Messages that the slowest group has not done yet, as of the last time positions were written; without a group, all that are kept.';
comment on column sluice.guards.dropped is 'Messages that were dropped while they waited. See sluice.drops for what groups passed over.';
comment on column sluice.guards.held is 'Messages of committed transactions that wait outside the log because it is full.';
comment on column sluice.guards.max_depth is 'How many messages may wait.';
comment on column sluice.guards.overflow is 'What becomes of a send beyond max_depth: reject fails it, drop-oldest makes room.';
comment on column sluice.guards.time_to_live is 'How long a message may be handed over, unless it says so itself; null: for ever.';
comment on column sluice.half_message.check_at is 'When to ask next; while somebody asks, until when it is theirs.';
comment on column sluice.half_message.check_back is 'Whom to ask when neither comes: the name of a check-back of an app, or a URL.';
comment on column sluice.half_message.message is 'The id that the message has in the log; set when it is committed.';
comment on column sluice.half_messages.decided_by is 'caller: commit or rollback was called. check-back: its answer. limit: nobody could tell, and it was prepared to be rolled back then.';
comment on column sluice.half_messages.half is 'select * from sluice.commit_half(…), or sluice.rollback_half(…), decides it by hand.';
comment on column sluice.half_messages.last_answer is 'What the check-back said last when it could not tell.';
comment on column sluice.half_messages.state is 'prepared: waits for its producer, or for its check-back. undecided: was asked about max_checks times in vain, and waits for you. committed, rolled-back: decided.';
comment on column sluice.handed_out.epoch is 'Of the owner that noted it last. Null: it was noted by an older version.';
comment on column sluice.hours."window" is 'The window in force; null: none, and the consumer goes by what it declares for otherwise.';
comment on column sluice.hours.rate is 'The rate limit in force, over all members of the group; null: none.';
comment on column sluice.hours.since is 'When it began; null: it has always been so.';
comment on column sluice.hours.until is 'When another comes into force; null: never.';
comment on column sluice.lag.committed_offset is 'Everything below is done.';
comment on column sluice.lag.lag is 'Messages not done yet, as of the last time the position was written.';
comment on column sluice.lag.oldest_age is 'How long the oldest message that is not done has been in the log; null when there is none.';
comment on column sluice.lag.owner is 'The member that handles the partition; null when nobody does.';
comment on column sluice.lag.paused_by is 'Who paused it: the database user and the application''s name.';
comment on column sluice.lag.paused_since is 'Since when it hands over nothing; null when it is not paused. By itself, with its topic or with its group, whichever came first.';
comment on column sluice.lag.priority is 'Of its messages; those of a higher one come first.';
comment on column sluice.leader_moves."from" is 'Who had it before; null: nobody.';
comment on column sluice.leader_moves.epoch is 'The epoch that began.';
comment on column sluice.leader_moves.why is 'As in sluice.moves.';
comment on column sluice.lease.deliveries is 'How often it was taken over from a member that died or froze. Above 0, its messages are handed over one by one.';
comment on column sluice.lease.done is 'What of the range is done; written at intervals.';
comment on column sluice.lease.lease is 'The right to write in its name: it changes when another member takes the range over.';
comment on column sluice.lease.lease_until is 'Renewed while its member lives, by the database''s clock. Afterwards, or when the member''s session is gone, any member takes it over.';
comment on column sluice.lease.member is 'Who has it; null when it was given back.';
comment on column sluice.member.backend_pid is 'The server process of its session; 0: it has none.';
comment on column sluice.member.lease_until is 'Renewed by its heartbeat, by the database''s clock. A member whose lease has run out is frozen: others end its session.';
comment on column sluice.member.leased is 'Whether it has no session, behind a pooler: it lives while lease_until is ahead, whatever is locked.';
comment on column sluice.member.paused_at is 'Since when it owns and leases nothing; null when it is not paused.';
comment on column sluice.member.process is 'Which process is the static member: another that claims the name fences this one.';
comment on column sluice.member.static_id is 'The name under which it keeps its partitions over a restart, for as long as its lease; null: it keeps none.';
comment on column sluice.members.backend_pid is 'The server process of its session; null when it has none and lives by its lease, behind a pooler.';
comment on column sluice.members.live is 'Whether its session is there or, if it has none, its lease runs. One that is not is removed by the next that looks.';
comment on column sluice.members.paused_since is 'Since when it is paused, and owns and leases nothing; null when it is not.';
comment on column sluice.members.static_id is 'The name under which it keeps its partitions over a restart, until lease_until; null: it keeps none.';
comment on column sluice.migrations.applied_at is 'When it was applied, by the clock of the database.';
comment on column sluice.migrations.breaking is 'Whether code that does not know this migration must not run on the schema any more.';
comment on column sluice.migrations.hash is 'SHA-256 of the text that was applied, in hexadecimal; a file that was edited afterwards is refused.';
comment on column sluice.migrations.name is 'The file name without its ending.';
comment on column sluice.migrations.number is 'The number that the file name begins with; migrations are applied in its order.';
comment on column sluice.move.member is 'The number of who took a position.';
comment on column sluice.moves."from" is 'Who had it before; null: nobody.';
comment on column sluice.moves.epoch is 'The epoch that began.';
comment on column sluice.moves.why is 'start: nobody had had it. leave: its owner closed. rebalance: it fell to another''s share. pause: its owner was paused. reset: the group was moved. restart: a static member came back. reconnect: its owner lost its session and came back. crash: its owner''s session was gone. freeze: its owner was not heard of for its lease.';
comment on column sluice.outbox.xid is 'The transaction that sent it. The relay looks for rows by transaction, not by what it has seen, so that none is missed that commits late.';
comment on column sluice.pace.key is 'The key whose limit it is; empty for a limit of the whole group.';
comment on column sluice.pace.next_at is 'The time of the next message that nobody has reserved yet; in the past when the limit is not reached.';
comment on column sluice.pace.since is 'Since when the rate is in force under which it was reserved last: what is reserved under a newer one comes before what an older one had reserved.';
comment on column sluice.partitions.end_offset is 'The offset that the next message will get (Kafka''s log end offset).';
comment on column sluice.partitions.high_watermark is 'Consumers read below this. A message sent with acks "all" is invisible until synchronous standbys have it, so what can be read is what survives a failover.';
comment on column sluice.partitions.priority is 'Of its messages; those of a higher one come first.';
comment on column sluice.partitions.start_offset is 'The first offset that retention has left.';
comment on column sluice.passed_over.counted is 'What was counted above.';
comment on column sluice.passed_over.counted_to is 'All below has been done or counted, and is not counted again when the position is moved back.';
comment on column sluice.passed_over.dropped is 'How many messages.';
comment on column sluice.pending.deliveries is 'How often the range was taken over from a member that died or froze.';
comment on column sluice.pending.lease is 'For sluice.expire_lease().';
comment on column sluice.pending.messages is 'How many of the range are not done, as of the last time it was written.';
comment on column sluice.redriven.attempts is 'How often it was handed to a handler since it was redriven, counted beforehand: one that ends the process counts, too.';
comment on column sluice.redriven.claim is 'The right to write in its name, while a member of a shared group has it in hand.';
comment on column sluice.redriven.dead_letter is 'The dead letter that it was, whose number it keeps should it die again; null when it was taken from the log.';
comment on column sluice.redriven.due is 'Of a shared group: not before this, by the database''s clock.';
comment on column sluice.redriven.lease_until is 'Renewed while that member lives. Afterwards, or when its session is gone, any member takes it over.';
comment on column sluice.redriven.member is 'Which member of a shared group has it in hand.';
comment on column sluice.redriven_messages.attempts is 'How often it was handed to a handler since then.';
comment on column sluice.redriven_messages.dead_letter is 'The dead letter that it was; null when it was taken from the log.';
comment on column sluice.redriven_messages.member is 'Which member of a shared group has it in hand; null when it waits.';
comment on column sluice.release.ends is 'Where each partition ended when it was let go, the first one''s first: it is worked off when every position has passed that.';
comment on column sluice.release.until is 'When the rate ends even if it is not worked off.';
comment on column sluice.releases."left" is 'Messages that had gathered when it was let go and are still to be done.';
comment on column sluice.replies.correlation is 'Which question it answers: the message''s header correlation-id.';
comment on column sluice.replies.dropped is 'Answers to the same question that came later and were dropped.';
comment on column sluice.replies.expires_at is 'When nobody can be waiting for it any more; it is removed soon after.';
comment on column sluice.replies.failure is 'Why there will be no answer. exhausted: the last attempt failed. rejected: the handler refused the message. schema: it does not fit the topic''s schema. expired: its time to live was over.';
comment on column sluice.replies.inbox is 'Who asked: the message''s header reply-to.';
comment on column sluice.replies.value is 'The answer; null when there will be none.';
comment on column sluice.reply.correlation is 'Which question it answers: the message''s header correlation-id.';
comment on column sluice.reply.dropped is 'Answers to the same question that came after this one and were dropped.';
comment on column sluice.reply.failure is 'Why there will be no answer; then value is null.';
comment on column sluice.reply.inbox is 'Who asked: the message''s header reply-to. Rung for on the channel sluice_inbox_<inbox>, with the correlation as payload.';
comment on column sluice.reply.value is 'The answer as JSON, in the spelling of whoever gave it.';
comment on column sluice.retries.attempt is 'How often it was handed over.';
comment on column sluice.retries.blocks is 'partition: nothing of its partition is handed over meanwhile. key: nothing of its key. nothing: all else goes on.';
comment on column sluice.retries.due is 'When it will be handed over again; null while it is in a handler''s hands.';
comment on column sluice.retry.appended_at is 'When it entered the log; null when a process of an earlier version put it off: it lives as if it had when it failed.';
comment on column sluice.retry.attempt is 'How often it was handed over, counted when that happens; 0 when it begins anew.';
comment on column sluice.retry.blocks is 'What waits for it: its partition, the messages of its key, or nothing.';
comment on column sluice.retry.due is 'When it will be handed over again; null while it is in a handler''s hands.';
comment on column sluice.retry.time_to_live_ms is 'Its own time to live; null: the topic''s, if that has one.';
comment on column sluice.schedule.next_at is 'The next tick; null: the duty that sends computes it from now.';
comment on column sluice.schedule.priority is 'Of the messages that it sends.';
comment on column sluice.schedule.revision is 'Counts the changes. Who computed from an older row changes nothing.';
comment on column sluice.schedules.declared_by is 'The app whose declaration it is.';
comment on column sluice.schedules.every is 'The span between ticks, counted from 1970 in UTC; null where there is a cron.';
comment on column sluice.schedules.last_id is 'The id of the message that it sent last.';
comment on column sluice.schedules.last_run is 'When it sent last.';
comment on column sluice.schedules.last_tick is 'For which tick it sent last.';
comment on column sluice.schedules.missed is 'What becomes of ticks that passed while nobody ran: skip, once for all of them, or all of them.';
comment on column sluice.schedules.next_run is 'The next tick; null while it is paused.';
comment on column sluice.shared_retries.attempt is 'Attempts that were begun so far.';
comment on column sluice.shared_retries.member is 'Who has it in hand; null when it waits.';
comment on column sluice.shared_retry.attempt is 'Attempts that were begun, counted before the message is handed over: one that kills its process counts.';
comment on column sluice.shared_retry.claim is 'The right to write in its name, while a member has it in hand.';
comment on column sluice.shared_retry.due is 'Not before this, by the database''s clock.';
comment on column sluice.subscription.assignment is 'How the member wants the group''s partitions assigned. What the oldest member says counts.';
comment on column sluice.subscription.carried is 'Whether it is of the process that was this static member before, and the present one has not said so itself yet.';
comment on column sluice.subscription.single_active is 'Whether one member is to own all partitions of the group and topic while the others stand by.';
comment on column sluice.topic.compression is 'auto: lz4 where the server has it, else none. pglz. none.';
comment on column sluice.topic.encoding is 'json: values are JSON. bytes: values are base64 text in the log and bytea in the view.';
comment on column sluice.topic.partitions is 'Partitions of the log: those that keys are spread over, times the priorities.';
comment on column sluice.topic.priorities is 'How many priorities its messages have, from 0, the least urgent; 1: none.';
comment on column sluice.topic.retention_consumed is 'Whether a segment goes as soon as every group that has positions in the topic has passed it.';
comment on column sluice.topic.topic is 'Names the topic''s table, sluice_log.topic_<n>; never reused.';
comment on column sluice.topics.partitions is 'Partitions of the log: those that keys are spread over, times the priorities.';
comment on column sluice.topics.priorities is 'How many priorities its messages have; 1: none.';
comment on function sluice.acknowledge_leases(bigint[],integer[],text[],bigint) is 'Writes what is done of leases; returns those that were accepted.';
comment on function sluice.actor() is 'Internal: who acts, for the audit.';
comment on function sluice.admit(integer,json) is 'Internal: lets messages into the log past their topic''s guard, or holds them.';
comment on function sluice.answer(json,boolean) is 'Internal: keeps answers to messages that asked for one.';
comment on function sluice.append_alone(integer,json) is 'Internal: a guarded append of messages that have nothing to do with each other.';
comment on function sluice.append_guarded(integer,json,bigint,bigint,text,text) is 'Internal: appends to a topic that deduplicates or is bounded.';
comment on function sluice.append_guarded_again(integer,json,bigint,bigint,text,text) is 'Internal: repeats an append to a topic that deduplicates or is bounded.';
comment on function sluice.append_guarded_within(integer,json,text) is 'Internal: appends within a stage''s transaction to a guarded topic.';
comment on function sluice.append_within(integer,integer[],integer[],text,text,text,text) is 'Internal: appends within a stage''s transaction.';
comment on function sluice.appended_at(integer,integer,bigint) is 'When a message was appended.';
comment on function sluice.assert_duty(integer,bigint) is 'Refuses an owner of a duty that has been replaced.';
comment on function sluice.assignment_in_force(integer) is 'How the partitions of a group are assigned at present.';
comment on function sluice.begin_all_retries(integer[],bigint[],bigint[]) is 'Internal: counts attempts before they are made.';
comment on function sluice.begin_all_retries(integer[],bigint[],bigint[],integer[]) is 'Internal: counts attempts before they are made, and gives the messages.';
comment on function sluice.begin_redriven(integer,bigint,bigint) is 'Internal: counts an attempt of a redriven message.';
comment on function sluice.begin_redriven(integer,bigint,bigint,integer) is 'Internal: counts an attempt of a redriven message before it is made.';
comment on function sluice.begin_retries(integer,bigint,bigint[]) is 'Internal: counts an attempt before it is made.';
comment on function sluice.bury(integer,bigint,json) is 'Internal: keeps a message that is given up as a dead letter.';
comment on function sluice.bury_claimed(integer,bigint,bigint,text,text,integer) is 'Internal: a redriven message in hand is a dead letter again.';
comment on function sluice.bury_redriven(integer,bigint,bigint,text,text,integer) is 'Internal: a redriven message is a dead letter again.';
comment on function sluice.claim_halves(text[],text[],integer,bigint) is 'Internal: hands out half messages to be asked about.';
comment on function sluice.claim_key(text,text,bigint) is 'Claims a key for a group in the caller''s transaction; false when its effect was had before.';
comment on function sluice.claim_member(text,text,text,integer,bigint,boolean,boolean) is 'Internal: makes a process the static member of a name.';
comment on function sluice.claim_redriven(integer,integer[],integer,bigint) is 'Internal: takes redriven messages of a shared group in hand.';
comment on function sluice.claim_retries(integer,integer[],integer,bigint) is 'Takes messages in hand that failed before and are due.';
comment on function sluice.clone_group(text,text,boolean,boolean) is 'Moves a group to where another one is: select * from sluice.clone_group(''welcome'', ''welcome-v2'').';
comment on function sluice.commit_half(bigint,text) is 'Commits a half message: it enters the log once your transaction has committed.';
comment on function sluice.commit_positions(integer[],bigint[],bigint[],text[]) is 'Writes positions under their epochs; returns those that were accepted.';
comment on function sluice.commit_positions(integer[],bigint[],bigint[],text[],bigint[]) is 'Writes positions under their epochs; returns those that were accepted.';
comment on function sluice.consume_again(text,text,integer,bigint) is 'Hands one message of the log to one group once more: select sluice.consume_again(''welcome'', ''signups'', 0, 42).';
comment on function sluice.count_attempts(integer[],bigint[],bigint[],integer[]) is 'Internal: counts attempts before they are made.';
comment on function sluice.count_dropped(integer,int8multirange) is 'Internal: counts what a group passes over, each message once.';
comment on function sluice.create_append_function(integer) is 'Internal: makes a topic''s append function for its newest segment.';
comment on function sluice.create_depth_function(integer) is 'Internal: makes a bounded topic''s depth function for its newest segment.';
comment on function sluice.create_queue(text,integer,text,text,bigint,bigint,bigint,bigint) is 'Creates a topic whose segments go when every group has passed them, or returns the number of the one that has the name.';
comment on function sluice.create_segment_table(integer,integer) is 'Internal: the table of a segment.';
comment on function sluice.create_topic(text,integer,text,text,bigint,bigint,bigint,bigint) is 'Creates a topic, or returns the number of the one that has the name.';
comment on function sluice.create_topic_view(integer) is 'Internal: makes the view topics.<name>.';
comment on function sluice.declare_schedule(text,integer,text,bigint,text,text,text,text,text,bigint,text,integer) is 'Internal: keeps a schedule as an app declares it.';
comment on function sluice.delayed_insert(integer,json,bigint,bigint,boolean) is 'Internal: writes messages that come later.';
comment on function sluice.depth(integer) is 'How many messages of a topic its slowest group has not done yet; without a group, how many there are.';
comment on function sluice.depth_statement(integer,integer) is 'Internal: the statement that counts what waits.';
comment on function sluice.discard(bigint[]) is 'Gives dead letters up for good: select * from sluice.discard(array[1, 2]).';
comment on function sluice.drop_dead_letters(text,bigint[]) is 'Internal: deletes dead letters and notes where they were.';
comment on function sluice.drop_messages(integer[],bigint[],bigint[]) is 'Internal: drops messages that are given up and kept nowhere.';
comment on function sluice.drop_oldest(integer,bigint) is 'Internal: drops the oldest messages that wait.';
comment on function sluice.dropped_below(integer,integer) is 'Below which offset messages of a partition were dropped to make room; null: none.';
comment on function sluice.drops(integer) is 'Internal: whether messages of a topic are dropped to make room, or were.';
comment on function sluice.due_time(timestamp with time zone,interval) is 'Internal: when a delayed message is due.';
comment on function sluice.edit_dead_letter(bigint,json,json) is 'Changes a dead letter before it is redriven: select sluice.edit_dead_letter(1, value => ''{"a":1}'').';
comment on function sluice.end_all_retries(integer[],bigint[],bigint[]) is 'Internal: forgets messages that are over.';
comment on function sluice.end_offset(integer,integer) is 'The offset that the next message of a partition will get.';
comment on function sluice.end_retries(integer,bigint,bigint[]) is 'Internal: forgets messages that are over.';
comment on function sluice.ensure_positions(integer,integer,text) is 'Gives a group a position in every partition of a topic.';
comment on function sluice.ensure_positions_at(integer,integer,text) is 'Gives a group a position in every partition of a topic, beginning at an offset or a time.';
comment on function sluice.expire_lease(bigint) is 'Lets a lease run out now, so that another member takes its range. See sluice.pending.';
comment on function sluice.fence_position(integer) is 'Internal: waits for what is in flight in a position, and ends who holds it up.';
comment on function sluice.find_offset(integer,integer,text) is 'Internal: the offset that a text says: earliest, latest, digits, or a time.';
comment on function sluice.find_schedule(text) is 'Internal: a schedule by its name.';
comment on function sluice.finish_retries(integer[],bigint[],bigint[]) is 'Internal: forgets messages of shared groups that failed before and are over.';
comment on function sluice.fire_schedule(bigint,integer,bigint,bigint[],bigint) is 'Internal: sends what a schedule says and moves it on.';
comment on function sluice.fold_done(integer,int8multirange) is 'Internal: counts ranges of a shared position as done.';
comment on function sluice.forget_expired(integer) is 'Removes expired message ids, answers and keys, in a step of bounded size.';
comment on function sluice.forget_marks(integer) is 'Internal: removes marks that a higher one has replaced.';
comment on function sluice.forget_moves(integer,integer) is 'Internal: forgets old moves.';
comment on function sluice.forget_pace(integer) is 'Internal: forgets limits of keys that are idle.';
comment on function sluice.forget_releases() is 'Internal: forgets rates of what is worked off.';
comment on function sluice.forget_replies(integer) is 'Internal: removes expired answers, in a step of bounded size.';
comment on function sluice.group_number(text) is 'Internal: the number of a group; refuses a name that is none.';
comment on function sluice.guard_topic(text,bigint,bigint,bigint,text) is 'Sets what a topic refuses, forgets and bounds: select sluice.guard_topic(''jobs'', max_depth => 1000, overflow => ''drop-oldest'').';
comment on function sluice.hand_out(integer,bigint,bigint,integer) is 'Internal: notes that a suspicious message is handed over.';
comment on function sluice.has_run_out(timestamp with time zone,integer,integer,bigint) is 'Internal: whether a lease may be taken from who has it.';
comment on function sluice.hold_fences(integer[]) is 'Internal: takes the fences of positions, shared.';
comment on function sluice.holds_lease(integer) is 'Internal: whether a member without a session is alive.';
comment on function sluice.is_anothers(integer,integer) is 'Internal: whether another member that lives has a position.';
comment on function sluice.is_anothers_duty(integer,integer) is 'Internal: whether another member that lives has a duty.';
comment on function sluice.is_awaited(text,timestamp with time zone) is 'Internal: whether a static member''s partitions wait for it.';
comment on function sluice.is_guarded(integer) is 'Internal: whether a topic deduplicates or is bounded.';
comment on function sluice.is_locked(integer,integer) is 'Internal: whether a session holds this lock.';
comment on function sluice.is_owned(integer) is 'Internal: whether a session owns a position, or a member by its lease, or members share it.';
comment on function sluice.is_paused(integer,integer,integer) is 'Internal: whether a position is paused, by itself, with its topic or with its group.';
comment on function sluice.keep_failures(integer[],json) is 'Internal: keeps messages that failed until they are handed over again.';
comment on function sluice.keep_reply(text,text,bigint,text,text) is 'Internal: keeps an answer unless there is one already.';
comment on function sluice.lane_of(sluice.topic,text,integer,integer) is 'Internal: the partition of the log for a message of a priority.';
comment on function sluice.lead_duty(integer,text) is 'Takes a duty under a new epoch, and notes the move.';
comment on function sluice.lease_ranges(integer,integer[],integer,bigint) is 'Leases a member of a shared group the next range of each position.';
comment on function sluice.leave_duty(integer,bigint) is 'Notes that an owner lets its duty go by itself.';
comment on function sluice.leave_position(integer,bigint,text,boolean) is 'Gives a position back.';
comment on function sluice.let_held_in(integer,integer,bigint) is 'Internal: lets messages in that wait because their topic was full.';
comment on function sluice.let_in(integer,integer[],integer[],text,text,text) is 'Internal: what the relay does with the messages of one topic.';
comment on function sluice.live_members() is 'The members whose session is there, or whose lease runs.';
comment on function sluice.make_room(integer,bigint,bigint,text[]) is 'Internal: drops what a guarded append has put in beyond the bound.';
comment on function sluice.mark_all_done(integer,bigint,bigint[]) is 'Marks messages as done within the caller''s transaction.';
comment on function sluice.mark_done(integer,bigint,bigint) is 'Marks a message as done within the caller''s transaction.';
comment on function sluice.mark_leased_done(integer,bigint,bigint) is 'Marks a message of a leased range as done within the caller''s transaction.';
comment on function sluice.mark_redriven(integer,bigint,bigint) is 'Internal: marks a redriven message as done within the caller''s transaction.';
comment on function sluice.mark_redriven_done(integer,bigint,bigint) is 'Internal: marks a redriven message in hand as done within the caller''s transaction.';
comment on function sluice.mark_retry_done(integer,bigint,bigint) is 'Marks a message that failed before as done within the caller''s transaction.';
comment on function sluice.member_name(integer) is 'Internal: the name of a member; refuses a number that is none.';
comment on function sluice.move_all_to_retry(integer[],bigint[],bigint[],integer[],double precision[],text[],text[]) is 'Internal: moves messages of leased ranges into rows of their own.';
comment on function sluice.move_all_to_retry(integer[],bigint[],bigint[],integer[],double precision[],text[],text[],boolean[]) is 'Internal: moves messages of leased ranges into rows of their own.';
comment on function sluice.move_delayed(bigint,timestamp with time zone,integer,bigint) is 'Internal: moves what is due into the log.';
comment on function sluice.move_positions(text,integer[],text,bigint,integer,boolean,boolean) is 'Internal: moves positions; see sluice.reset_position, sluice.shift_position and sluice.clone_group.';
comment on function sluice.move_to_retry(integer,bigint,bigint,integer,double precision,text,text,integer,bigint) is 'Moves a message of a leased range into a row of its own.';
comment on function sluice.multiply_32(bigint,bigint) is 'Internal: unsigned 32-bit multiplication.';
comment on function sluice.note_half(bigint,text) is 'Internal: notes the answer of a check-back.';
comment on function sluice.offset_at(integer,integer,timestamp with time zone) is 'The first offset that was appended at a time or later.';
comment on function sluice.oldest_statement(integer,integer) is 'Internal: the statement that finds the oldest of what waits.';
comment on function sluice.outbox_insert(integer,json,boolean) is 'Internal: writes messages to the outbox.';
comment on function sluice.own_position(integer,integer,integer) is 'Takes a position over under a new epoch, and notes the move.';
comment on function sluice.partition_of_key(text,integer) is 'The partition a key goes to: Kafka''s murmur2. The same as the producers compute.';
comment on function sluice.pass_over(integer,bigint,int8multirange) is 'Internal: an owner passes over messages that were dropped.';
comment on function sluice.pass_over_shared(integer[]) is 'Internal: a shared group passes over messages that were dropped.';
comment on function sluice.pause_group(text,text,integer,text) is 'Pauses a group, a topic of it or a partition: select sluice.pause_group(''welcome'', reason => ''load test'').';
comment on function sluice.pause_member(integer,text) is 'Pauses a process that consumes; the others take over: select sluice.pause_member(7, reason => ''why'').';
comment on function sluice.pause_position(integer,bigint,text) is 'Internal: an owner pauses its partition.';
comment on function sluice.pause_schedule(text) is 'Stops a schedule until sluice.resume_schedule(name).';
comment on function sluice.positions_of(text,text,integer[]) is 'Internal: the numbers of a group''s positions.';
comment on function sluice.prepare(text,json,text,text,json,integer,interval,integer,text,integer) is 'Prepares one message, to be committed or rolled back later: select sluice.prepare(''topic'', ''{"a":1}'', check_back => ''orders'').';
comment on function sluice.prepare_half(integer,integer,text,text,text,text,bigint,integer,text) is 'Internal: keeps a half message.';
comment on function sluice.purge_dead_letters(timestamp with time zone,text,text) is 'Gives up dead letters older than a time, 10,000 at most a call: select sluice.purge_dead_letters(now() - interval ''90 days'').';
comment on function sluice.put_off(integer,bigint,json) is 'Internal: keeps messages that failed until they are handed over again.';
comment on function sluice.put_off_all(integer[],json) is 'Internal: keeps messages that failed until they are handed over again.';
comment on function sluice.raise_marks(integer,integer[],bigint[]) is 'Internal: drops what waits below.';
comment on function sluice.raise_priorities(text,integer) is 'Gives a topic more priorities: select sluice.raise_priorities(''jobs'', 3).';
comment on function sluice.ready_positions(integer[],integer) is 'Internal: the most urgent positions that have something to lease.';
comment on function sluice.recall(text) is 'Takes a delayed message back: select sluice.recall(''d-17''). Whether it will never be delivered.';
comment on function sluice.redrive(bigint[]) is 'Hands dead letters to their groups once more: select * from sluice.redrive(array[1, 2]).';
comment on function sluice.redrive_group(text,text,integer,timestamp with time zone) is 'Hands dead letters of a group to it once more: select sluice.redrive_group(''welcome''). Returns how many.';
comment on function sluice.refresh_depths() is 'Internal: makes depth functions again after a roll.';
comment on function sluice.register_consumer(integer,integer,text,boolean) is 'Notes how a group works on a topic; returns how it does.';
comment on function sluice.relay(bigint,pg_snapshot,integer) is 'Internal: moves committed messages from the outbox into the log.';
comment on function sluice.release_group(text,integer,interval,text,timestamp with time zone) is 'Ends the pauses of a group and lets what has gathered go at a rate: select sluice.release_group(''welcome'', messages => 100, per => ''1 second'').';
comment on function sluice.release_leases(bigint[]) is 'Gives leases back.';
comment on function sluice.release_left(integer,integer,bigint[]) is 'Internal: how much of what is let go at a rate is left.';
comment on function sluice.release_position(integer,bigint) is 'Gives a position back.';
comment on function sluice.remove_schedule(text) is 'Removes a schedule for good, unless an app that still declares it starts.';
comment on function sluice.reply(json,json,text) is 'Answers a message that asked for it, within your transaction: select sluice.reply(headers, value => ''{"a":1}'') from topics.t where …';
comment on function sluice.reserve_pace(integer,integer,text,integer,double precision) is 'Internal: reserves messages of a group with a rate limit.';
comment on function sluice.reserve_pace(integer,integer,text,integer,double precision,timestamp with time zone) is 'Internal: reserves messages of a group whose rate limit changes.';
comment on function sluice.reset_position(text,text,text,integer[],boolean,boolean) is 'Moves a group''s position to an offset or a time: select * from sluice.reset_position(''welcome'', ''signups'', ''earliest'', dry_run => true).';
comment on function sluice.resume_group(text,text,integer) is 'Ends the pauses of a group: select sluice.resume_group(''welcome'').';
comment on function sluice.resume_member(integer) is 'Ends the pause of a member: select sluice.resume_member(7).';
comment on function sluice.resume_schedule(text) is 'Lets a paused schedule go on from its next tick.';
comment on function sluice.retention_bounds(integer) is 'Where the groups of a topic are, for retention.';
comment on function sluice.ring_for_due(timestamp with time zone) is 'Internal: wakes the mover of delayed messages for one that is due soon.';
comment on function sluice.ring_groups_of(integer) is 'Internal: rings for the groups of a member.';
comment on function sluice.roll_segment(integer) is 'Closes a topic''s segment and begins the next.';
comment on function sluice.rollback_half(bigint,text) is 'Discards a half message: nobody ever sees it.';
comment on function sluice.run_schedule(text) is 'Sends a schedule''s message now.';
comment on function sluice.send(text,json,text,json,integer,timestamp with time zone,interval,integer) is 'Sends one message within your transaction: select sluice.send(''topic'', key => ''k'', value => ''{"a":1}''). Later with deliver_at => a time or delay => an interval.';
comment on function sluice.send_once(text,text,json,text,json,integer,integer) is 'Sends one message within your transaction unless its message id was sent within the topic''s window.';
comment on function sluice.send_scheduled(sluice.schedule,timestamp with time zone) is 'Internal: sends a schedule''s message for a tick.';
comment on function sluice.settle_half(bigint) is 'Internal: ends the asking about a half message.';
comment on function sluice.settle_retries(integer[],bigint[],bigint[]) is 'Internal: forgets messages that are over.';
comment on function sluice.shift_position(text,text,bigint,integer[],boolean,boolean) is 'Moves a group''s position by a number of messages: select * from sluice.shift_position(''welcome'', ''signups'', -100).';
comment on function sluice.start_offset(integer,integer) is 'The first offset of a partition that retention has left.';
comment on function sluice.take_duty(integer,text) is 'Takes a duty under a new epoch.';
comment on function sluice.take_free(integer,integer,integer) is 'Takes a position over under a new epoch, unless a member that lives has it.';
comment on function sluice.take_free_duty(integer,text,integer) is 'Takes a duty under a new epoch, unless a member that lives has it.';
comment on function sluice.take_over(integer,integer,integer) is 'Takes a position over under a new epoch, and tells what may have ended its last owner.';
comment on function sluice.take_over_leases(integer,integer[],integer,bigint) is 'Takes over ranges of a shared group that nobody works on any more.';
comment on function sluice.take_position(integer,integer) is 'Takes a position over under a new epoch.';
comment on function sluice.time_of_ms(bigint) is 'Internal: milliseconds since 1970 as a time.';
comment on function sluice.topic_number(text) is 'Internal: the number of a topic; refuses a name that is none.';
comment on function sluice.unpaused(integer[]) is 'Internal: those of some positions that are not paused, in their order.';
comment on function sluice.waiting_from(integer) is 'Internal: where what waits begins in each partition.';
comment on function sluice.write_audit(text,text,json) is 'Internal: notes an act within its transaction.';
comment on index sluice.delayed_due is 'What is due next, and in which order.';
comment on index sluice.half_message_decided is 'Finds what is to be forgotten.';
comment on index sluice.half_message_due is 'Finds what is to be asked about.';
comment on index sluice.reply_expires_at is 'For forgetting what nobody waits for any more.';
comment on schema sluice is 'Sluice, a message broker inside Postgres: its tables, views and functions.';
comment on schema sluice_log is 'Sluice: the tables and append functions of topics, named by topic number. Read topics.<name> instead.';
comment on schema topics is 'Sluice: a view per topic that shows its messages one by one.';
comment on sequence sluice.claim_number is 'A number for every time a member takes a message that failed in hand.';
comment on sequence sluice.producer_number is 'A number for every producer that opens; with its record sequence it makes up the id of a record.';
comment on table sluice."position" is 'How far a group is in a partition. See the views sluice.groups and sluice.lag.';
comment on table sluice.audit is 'Every administrative act, written in the transaction of the act. See the view sluice.audits.';
comment on table sluice.consumer_group is 'A consumer group: who shares its name shares the work. See the view sluice.groups.';
comment on table sluice.dead_letter is 'What a group could not handle, whole. See the view sluice.dead_letters.';
comment on table sluice.deduplication is 'Message ids that were sent within their topic''s window, and where the first one is. Expired rows are removed by the retention duty.';
comment on table sluice.delayed is 'Messages that are not due yet. A row is here if and only if its message is neither in the log nor recalled. See the view sluice.delayed_messages.';
comment on table sluice.done is 'Messages done in their handler''s transaction and not yet folded into the position.';
comment on table sluice.drop_mark is 'How far a partition''s messages were dropped to make room. The highest row counts; others are removed by the retention duty.';
comment on table sluice.duty is 'What one process at a time does for all. The session lock (1936487686, duty) or the lease of a member without a session says who has it, the epoch fences it.';
comment on table sluice.group_topic is 'How a group works on a topic. One that works on it in one way cannot work in another.';
comment on table sluice.guard is 'What a topic refuses, forgets and bounds; a topic without a row does none of it. See the view sluice.guards.';
comment on table sluice.guarded_append is 'What producers were told, for an hour: one whose answer was lost asks again and hears the same.';
comment on table sluice.half_message is 'Messages that were prepared and wait for commit or rollback, and what was decided within the last week. See the view sluice.half_messages.';
comment on table sluice.handed_out is 'Messages that saw processes end, and how often they were handed over since; gone when the position has passed them.';
comment on table sluice.held is 'Messages of transactions that wait because their topic is full. As with sluice.outbox: a row is here if and only if its message is not in the log.';
comment on table sluice.hours_in_force is 'What members apply at present of the hours that their consumers declare. See the view sluice.hours.';
comment on table sluice.idempotence is 'Keys whose effect a group has had: a row commits with the effect. Expired rows are removed by the retention duty.';
comment on table sluice.lease is 'A range of offsets that a member of a shared group works on. Gone when all of it is done. See the view sluice.pending.';
comment on table sluice.member is 'A process that consumes. It lives while its session holds the advisory lock (1936487685, member) or, where it is leased, until lease_until.';
comment on table sluice.migrations is 'The migrations that were applied to this database, one row each, written in the transaction of the migration.';
comment on table sluice.move is 'Who took a position or a duty over, from whom and why; the latest of each, and others for 30 days, at most 100,000. See the views sluice.moves and sluice.leader_moves.';
comment on table sluice.outbox is 'Messages of transactions, on their way into the log. A row is here if and only if its message is not in the log.';
comment on table sluice.pace is 'When a group with a rate limit may hand its next message over. (The generic cell rate algorithm, ITU-T I.371.)';
comment on table sluice.passed_over is 'What a group passed over because it had been dropped, each message counted once. See the view sluice.drops.';
comment on table sluice.pause is 'What hands over nothing at present: a group (topic null), a topic of it (partition null), or a partition.';
comment on table sluice.redriven is 'Messages that one group handles once more, waiting beside the log for the owner of the position, or for any member of a shared group. See the view sluice.redriven_messages.';
comment on table sluice.release is 'What had gathered in groups and is let go at a rate. See the view sluice.releases.';
comment on table sluice.reply is 'The first answer to each message that asked for one, until it expires. See the view sluice.replies.';
comment on table sluice.retry is 'Messages that failed and wait to be handed over again. Their position has passed them. See the view sluice.retries.';
comment on table sluice.schedule is 'What is sent by the clock. See the view sluice.schedules.';
comment on table sluice.segment is 'A slice of a topic in time: sluice_log.topic_<topic>_segment_<segment>. The highest one is appended to.';
comment on table sluice.segment_start is 'Where each partition begins in a segment, so that dropping older segments never restarts an offset.';
comment on table sluice.shared_retry is 'A message of a shared group that failed, or whose process died, until it is done or given up. See the view sluice.shared_retries.';
comment on table sluice.subscription is 'Which groups a member takes part in, and for which topics.';
comment on table sluice.topic is 'A topic: its number, its name and how it is kept. See the view sluice.topics.';
comment on view sluice.assignments is 'Sluice: which process has which partition for a group, since when, and why it came to it.';
comment on view sluice.audits is 'Sluice: who did what: redrive, discard, purge, edit, consume again, reset, shift, clone, pause, resume. Written in the transaction of the act.';
comment on view sluice.dead_letters is 'Sluice: what a group could not handle: the message, where it was, why and after how many attempts.';
comment on view sluice.delayed_messages is 'Sluice: messages that are not due yet; sluice.recall(id) takes one back.';
comment on view sluice.drops is 'Sluice: how many messages each group passed over because they had been dropped to make room.';
comment on view sluice.groups is 'Sluice: each group''s lag over all partitions of a topic.';
comment on view sluice.guards is 'Sluice: topics that refuse, forget or bound, and how full they are.';
comment on view sluice.half_messages is 'Sluice: messages that wait for commit or rollback, and what was decided within the last week.';
comment on view sluice.hours is 'Sluice: which window of its hours each live consumer goes by, and when that changes. One that is not open hands over nothing.';
comment on view sluice.idle_members is 'Sluice: members that stand by: their group has more of them than the topic has partitions, or one active only.';
comment on view sluice.lag is 'Sluice: how far each group is in each partition, and who works on it.';
comment on view sluice.leader_moves is 'Sluice: which duty of sluice.leaders went from which process to which, when and why.';
comment on view sluice.leaders is 'Sluice: which process does what one does for all: relay moves the outbox into the log, retention drops old segments, delays moves what is due into the log, schedules sends by the clock.';
comment on view sluice.members is 'Sluice: the processes that consume. One with partitions = 0 is idle: there are more members than partitions.';
comment on view sluice.moves is 'Sluice: which partition went from which process to which, when and why; the latest of each, and others for 30 days.';
comment on view sluice.partitions is 'Sluice: where the log of each partition begins and ends.';
comment on view sluice.pauses is 'Sluice: what hands over nothing at present: groups (topic null), topics of a group (partition null), or partitions.';
comment on view sluice.pending is 'Sluice: what members of shared groups have in hand, by range: handed out or about to be, and not acknowledged.';
comment on view sluice.redriven_messages is 'Sluice: messages that a group handles once more and that wait for it: redriven dead letters, and what was to be consumed again.';
comment on view sluice.releases is 'Sluice: groups that are letting go at a rate what had gathered while they were paused.';
comment on view sluice.replies is 'Sluice: answers to messages that asked for one, until they expire.';
comment on view sluice.retries is 'Sluice: messages that failed and wait to be handed over again, and what waits for them.';
comment on view sluice.schedules is 'Sluice: what is sent by the clock, when it runs next and when it ran last.';
comment on view sluice.shared_retries is 'Sluice: messages of shared groups that failed and wait for their next attempt, or are in hand again.';
comment on view sluice.topics is 'Sluice: every topic, how it is kept and how much room it takes.';
