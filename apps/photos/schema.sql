-- The tables of the photo app. Applied at every start, in one transaction under the kit's advisory lock; every statement
-- may be repeated.

create schema if not exists photos;
comment on schema photos is 'The photo example: photos, the faces on them, the people they belong to, and the index.';

create table if not exists photos.secret (
  only_row boolean constraint secret_pkey primary key default true constraint secret_only_row check (only_row),
  key text not null constraint secret_key_length check (char_length(key) between 64 and 200)
);
comment on table photos.secret is 'What sessions are signed with: made once, shared by all processes of the app.';

create table if not exists photos.photo (
  photo uuid constraint photo_pkey primary key,
  owner uuid not null,
  name text not null constraint photo_name_length check (char_length(name) between 1 and 200),
  sha256 bytea not null constraint photo_sha256_length check (octet_length(sha256) = 32),
  format text not null constraint photo_format check (format in ('jpeg', 'png', 'webp')),
  width integer not null,
  height integer not null,
  original bytea not null constraint photo_original_length check (octet_length(original) <= 12582912),
  "view" bytea not null constraint photo_view_length check (octet_length("view") <= 12582912),
  thumbnail bytea not null constraint photo_thumbnail_length check (octet_length(thumbnail) <= 1048576),
  uploaded_at timestamptz not null default clock_timestamp(),
  recognised integer not null default 0,
  recognised_at timestamptz,
  recogniser text constraint photo_recogniser_length check (char_length(recogniser) <= 100),
  has_more_faces boolean not null default false,
  clustered integer not null default 0,
  clustered_at timestamptz,
  constraint photo_once_per_owner unique (owner, sha256)
);
comment on table photos.photo is 'One row per photo and owner; committed together with its message in topics."photo-uploads".';
comment on column photos.photo.owner is 'The session that uploaded it; nobody else sees it.';
comment on column photos.photo."view" is 'At most 1,024 pixels, upright, as JPEG without metadata: what is shown, and what faces are looked for in.';
comment on column photos.photo.recognised is 'How often the stage faces committed it: 1, unless an operator moved the group back.';
comment on column photos.photo.clustered is 'The same of the stage clusters.';
create index if not exists photo_by_owner on photos.photo (owner, uploaded_at desc);

create table if not exists photos.person (
  person uuid constraint person_pkey primary key,
  owner uuid not null,
  number integer not null,
  constraint person_number unique (owner, number)
);
alter table photos.person add column if not exists name text
  constraint person_name_length check (char_length(name) between 1 and 60);
comment on table photos.person is 'A person: the faces that are near each other. Found by the stage clusters.';
comment on column photos.person.name is 'What the owner calls them; null until then.';

create table if not exists photos.face (
  photo uuid not null constraint face_photo references photos.photo on delete cascade,
  number integer not null,
  owner uuid not null,
  x real not null,
  y real not null,
  width real not null,
  height real not null,
  score real not null,
  descriptor real[] not null constraint face_descriptor_length check (cardinality(descriptor) = 128),
  person uuid constraint face_person references photos.person,
  constraint face_pkey primary key (photo, number)
);
comment on table photos.face is 'A face on a photo, from the stage faces; its person from the stage clusters.';
comment on column photos.face.x is 'As y, width and height: a share of the photo''s width or height, 0 to 1.';
create index if not exists face_by_person on photos.face (owner, person);

create table if not exists photos.entry (
  photo uuid constraint entry_pkey primary key constraint entry_photo references photos.photo on delete cascade,
  owner uuid not null,
  people uuid[] not null,
  indexed_at timestamptz not null default clock_timestamp(),
  times integer not null default 1
);
comment on table photos.entry is 'The index: who is on which photo. One row per photo, also for photos of nobody.';
comment on column photos.entry.times is 'How often the stage index committed it: 1, unless an operator moved the group back.';
create index if not exists entry_by_person on photos.entry using gin (people);

create table if not exists photos.album (
  person uuid constraint album_pkey primary key constraint album_person references photos.person,
  owner uuid not null,
  is_stale boolean not null default true,
  photos integer not null default 0,
  cover uuid constraint album_cover references photos.photo on delete set null,
  made_at timestamptz
);
comment on table photos.album is 'An album per person, made anew by the schedule when it has changed; its cover is the best face.';
create index if not exists album_by_owner on photos.album (owner);
create index if not exists album_stale on photos.album (person) where is_stale;

create table if not exists photos.colour (
  photo uuid constraint colour_pkey primary key constraint colour_photo references photos.photo on delete cascade,
  colour text not null constraint colour_form check (colour ~ '^#[0-9a-f]{6}$'),
  times integer not null default 1
);
comment on table photos.colour is 'The dominant colour of each photo, by the group colours, which came later.';

create or replace function photos.distance(one real[], other real[]) returns double precision
  language sql immutable strict parallel safe
  return (select sqrt(sum((a - b) ^ 2)) from unnest(one, other) as pair(a, b));
comment on function photos.distance is 'The Euclidean distance of two descriptors.';

-- What the stages do in their transactions, one call each.

create or replace function photos.keep_faces(of_photo uuid, faces json, more boolean, by text) returns boolean
  language plpgsql as $$
begin
  -- The row's lock holds off a deletion until the stage commits.
  update photos.photo set recognised = recognised + 1, recognised_at = clock_timestamp(), recogniser = by,
    has_more_faces = more where photo = of_photo;
  if not found then return false; end if;
  delete from photos.face where photo = of_photo;
  insert into photos.face (photo, owner, number, x, y, width, height, score, descriptor)
  select of_photo, p.owner, f.number, f.x, f.y, f.width, f.height, f.score, f.descriptor
  from photos.photo p, json_to_recordset(faces)
    as f(number integer, x real, y real, width real, height real, score real, descriptor real[])
  where p.photo = of_photo;
  return true;
end $$;
comment on function photos.keep_faces is 'The stage faces: writes what was found on a photo. False when the photo was deleted.';

create or replace function photos.cluster(of_photo uuid, threshold double precision) returns boolean
  language plpgsql as $$
declare
  of_owner uuid;
  one photos.face;
  nearest uuid;
begin
  update photos.photo set clustered = clustered + 1, clustered_at = clock_timestamp() where photo = of_photo
    returning owner into of_owner;
  if not found then return false; end if;
  update photos.face set person = null where photo = of_photo;
  for one in select * from photos.face where photo = of_photo order by number loop
    -- A person is as far away as its faces are on average; two faces of one photo are never one person.
    select other.person into nearest
    from photos.face other
    where other.owner = of_owner and other.person is not null
      and not exists (select from photos.face own where own.photo = of_photo and own.person = other.person)
    group by other.person having avg(photos.distance(one.descriptor, other.descriptor)) < threshold
    order by avg(photos.distance(one.descriptor, other.descriptor)), other.person limit 1;
    if not found then
      insert into photos.person (person, owner, number)
      select gen_random_uuid(), of_owner, coalesce(max(number), 0) + 1 from photos.person where owner = of_owner
      returning person into nearest;
    end if;
    update photos.face set person = nearest where photo = of_photo and number = one.number;
  end loop;
  return true;
end $$;
comment on function photos.cluster is
  'The stage clusters: gives each face of a photo the nearest person below the threshold, or a new one. For one photo of an owner at a time.';

create or replace function photos.index_photo(of_photo uuid) returns void
  language plpgsql as $$
declare
  of_owner uuid;
  on_it uuid[];
begin
  select owner into of_owner from photos.photo where photo = of_photo for update;
  if not found then return; end if;
  insert into photos.entry (photo, owner, people)
  select of_photo, of_owner, coalesce(array_agg(person order by person), '{}')
  from photos.face where photo = of_photo and person is not null
  on conflict (photo) do update
    set people = excluded.people, indexed_at = excluded.indexed_at, times = entry.times + 1
  returning people into on_it;
  insert into photos.album (person, owner) select person, of_owner from unnest(on_it) as person order by person
  on conflict (person) do update set is_stale = true;
end $$;
comment on function photos.index_photo is 'The stage index: writes who is on a photo, and which albums have changed.';

create or replace function photos.make_albums() returns void
  language sql as $$
  update photos.album a set is_stale = false, made_at = clock_timestamp(),
    photos = (select count(*) from photos.entry e where e.people @> array[a.person]),
    cover = (select f.photo from photos.face f where f.owner = a.owner and f.person = a.person
      order by f.score desc, f.photo limit 1)
  where a.is_stale
$$;
comment on function photos.make_albums is 'Makes the albums anew that have changed: how many photos, and the best face.';
