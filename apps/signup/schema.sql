-- The tables of the sign-up app. Applied at every start, in one transaction under the kit's advisory lock; every statement
-- may be repeated.

create schema if not exists signup;
comment on schema signup is 'The sign-up example: its users, and what was sent to them.';

create table if not exists signup.users (
  id uuid primary key,
  name text not null constraint users_name_length check (char_length(name) between 1 and 100),
  email text not null constraint users_email_unique unique
    constraint users_email_length check (char_length(email) between 3 and 254),
  phone text not null constraint users_phone_form check (phone ~ '^\+[1-9][0-9]{7,14}$'),
  way text not null default 'queued' constraint users_way check (way in ('queued', 'serial', 'parallel')),
  created_at timestamptz not null default clock_timestamp()
);
comment on table signup.users is 'One row per user; for way = ''queued'' it committed together with its message in topics.signups.';
comment on column signup.users.email is 'In lower case, so that the unique constraint sees one person once.';
comment on column signup.users.way is 'How the request handled mail and SMS; all but ''queued'' come from the comparison.';

-- The page asks for the newest every second.
create index if not exists users_created_at on signup.users (created_at desc);

create table if not exists signup.deliveries (
  message_id text not null constraint deliveries_message_id_length check (char_length(message_id) between 1 and 200),
  channel text not null constraint deliveries_channel check (channel in ('email', 'sms')),
  user_id uuid not null,
  state text not null constraint deliveries_state check (state in ('sent', 'refused')),
  detail text not null constraint deliveries_detail_length check (char_length(detail) <= 500),
  attempt integer not null,
  "partition" integer not null,
  "offset" bigint not null,
  settled_at timestamptz not null default clock_timestamp(),
  constraint deliveries_pkey primary key (message_id, channel)
);
comment on table signup.deliveries is
  'What became of each message in each channel; the row commits together with the position of the consumer group.';
comment on column signup.deliveries.detail is 'The provider''s reference when sent, its reason when refused.';

alter table signup.deliveries add column if not exists redriven boolean not null default false;
comment on column signup.deliveries.redriven is 'Whether the message had been a dead letter before; its attempts began anew then.';

create index if not exists deliveries_user on signup.deliveries (user_id);

create table if not exists signup.vouchers (
  user_id uuid constraint vouchers_pkey primary key,
  code text not null constraint vouchers_code_length check (char_length(code) between 1 and 50),
  given_at timestamptz not null default clock_timestamp()
);
comment on table signup.vouchers is
  'One welcome voucher for each user; the row commits together with the position of the group voucher.';
