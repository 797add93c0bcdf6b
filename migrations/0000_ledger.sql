-- breaking: no
--
-- The schema and the ledger in which every migration records itself.
--
-- Locks: none that anybody could wait for; the objects are new.

create schema sluice;

comment on schema sluice is 'Sluice, a message broker inside Postgres: its tables, views and functions.';

create table sluice.migrations (
  number integer not null,
  name text not null,
  hash text not null,
  breaking boolean not null,
  applied_at timestamptz not null default clock_timestamp(),
  constraint migrations_pkey primary key (number),
  constraint migrations_number_check check (number >= 0),
  constraint migrations_name_check check (length(name) between 1 and 200),
  constraint migrations_hash_check check (hash ~ '^[0-9a-f]{64}$')
);

comment on table sluice.migrations is 'The migrations that were applied to this database, one row each, written in the transaction of the migration.';
comment on column sluice.migrations.number is 'The number that the file name begins with; migrations are applied in its order.';
comment on column sluice.migrations.name is 'The file name without its ending.';
comment on column sluice.migrations.hash is 'SHA-256 of the text that was applied, in hexadecimal; a file that was edited afterwards is refused.';
comment on column sluice.migrations.breaking is 'Whether code that does not know this migration must not run on the schema any more.';
comment on column sluice.migrations.applied_at is 'When it was applied, by the clock of the database.';
