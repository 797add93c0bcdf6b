-- Which schema files of the sample apps are in force here. Made by database.ts before anything else, under its advisory lock.

create schema if not exists sample;
comment on schema sample is 'What the sample apps of Sluice share: the results of their scenarios.';

create table if not exists sample.applied (
  file text not null constraint applied_pkey primary key,
  digest text not null constraint applied_digest_length check (length(digest) = 64)
);
comment on table sample.applied is 'The schema files of the sample apps, as they were last applied.';
comment on column sample.applied.digest is 'SHA-256 of the text.';
