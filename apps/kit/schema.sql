-- The table that all sample apps share. Applied by database.ts, under its advisory lock, when it is new or has changed; every
-- statement may be repeated.

create table if not exists sample.results (
  result bigint generated always as identity constraint results_pkey primary key,
  app text not null constraint results_app_length check (char_length(app) between 1 and 50),
  scenario text not null constraint results_scenario_length check (char_length(scenario) between 1 and 50),
  ended_at timestamptz not null default clock_timestamp(),
  passed boolean not null,
  claims jsonb not null constraint results_claims_length check (octet_length(claims::text) <= 100000),
  report text not null constraint results_report_length check (char_length(report) <= 100000)
);
comment on table sample.results is 'How each scenario of each sample app ended, the newest 20 of each; the pages show the last one.';
comment on column sample.results.claims is 'What was claimed and what was measured: [{"claim", "measured", "goal", "held"}].';

create index if not exists results_by_scenario on sample.results (app, scenario, result desc);
