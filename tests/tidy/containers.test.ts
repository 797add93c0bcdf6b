import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { projectFiles, root } from "./project-files.ts";

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly init?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly stop_grace_period?: string;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, unknown>>;
}

const texts = {
  compose: readFileSync(join(root, "compose.yaml"), "utf8"),
  container: readFileSync(join(root, "Containerfile"), "utf8"),
  ignore: readFileSync(join(root, ".containerignore"), "utf8"),
  options: ["apps/kit/options.ts", "apps/kit/outside/providers.ts"]
    .map((path) => readFileSync(join(root, path), "utf8"))
    .join("\n"),
  service: readFileSync(join(root, "apps/signup/consumers.ts"), "utf8"),
  routes: readFileSync(join(root, "apps/kit/web/frame.ts"), "utf8"),
};

type Texts = typeof texts;

/** `${NAME:-default}` as compose fills it in when NAME is not set. */
const filledIn = (text: string) => text.replace(/\$\{[A-Z_]+:-([^}]*)\}/g, "$1");
const seconds = (text: string) => Number.parseFloat(text) * (text.endsWith("m") ? 60 : 1);

function problemsOf(given: Texts): string[] {
  return [...composeProblems(given), ...containerProblems(given)];
}

function composeProblems({ compose, container, options, service }: Texts): string[] {
  const problems: string[] = [];
  const require = (holds: unknown, problem: string) => {
    if (!holds) problems.push(problem);
  };
  const { services, volumes = {} } = Bun.YAML.parse(compose) as Compose;
  const { app, postgres } = services;
  if (app === undefined || postgres === undefined) return ["the services app and postgres are missing"];
  for (const [name, { ports = [], healthcheck, volumes: mounted = [] }] of Object.entries(services)) {
    require(ports.length > 0, `${name} publishes no port`);
    for (const port of ports) require(port.startsWith("127.0.0.1:"), `${name} publishes ${port} to more than loopback`);
    for (const volume of mounted)
      require((volume.split(":")[0] as string) in volumes, `the volume of ${name} is missing`);
    require(healthcheck !== undefined || name === "app", `${name} has no healthcheck`);
  }
  require(/^postgres:18(\.\d+)?$/.test(postgres.image ?? ""), "the server is not a Postgres 18");
  require(postgres.volumes?.some((volume) =>
    volume.endsWith(":/var/lib/postgresql"),
  ), "the server's data has no volume");
  require(app.build !== undefined &&
    existsSync(join(root, app.build.context, app.build.dockerfile)), "the app's Containerfile is missing");
  require(app.init === true, "the app has no init");
  require(app.depends_on?.["postgres"]?.condition === "service_healthy", "the app does not wait for the server");

  const environment = app.environment ?? {};
  const known = [...options.matchAll(/^\s+([A-Z][A-Z_]+): optional\(/gm)].map((match) => match[1] as string);
  require(known.length >= 5, "no variables were found in the app's options");
  for (const name of Object.keys(environment)) require(known.includes(name), `the app does not read ${name}`);
  require(environment["HOST"] === "0.0.0.0", "the app would listen where the published port does not lead");
  const inside = app.ports?.[0]?.split(":").at(-1);
  require(environment["PORT"] === inside, "PORT is not the published one");
  require(new RegExp(`^EXPOSE ${inside}$`, "m").test(container), "the published port is not exposed");

  const url = new URL(filledIn(environment["DATABASE_URL"] ?? "postgres://nowhere"));
  const server = postgres.environment ?? {};
  require(url.hostname === "postgres" &&
    url.port === postgres.ports?.[0]?.split(":").at(-1), "DATABASE_URL names another server");
  require(url.username === server["POSTGRES_USER"], "DATABASE_URL names another user");
  require(url.password === filledIn(server["POSTGRES_PASSWORD"] ?? ""), "DATABASE_URL has another password");
  require(url.pathname === `/${server["POSTGRES_DB"]}`, "DATABASE_URL names another database");

  const drain = /drain: "(\d+s)"/.exec(service)?.[1];
  require(drain !== undefined &&
    seconds(app.stop_grace_period ?? "10s") >= seconds(drain) + 5, "the grace period is no longer than the drain");
  return problems;
}

function containerProblems({ container, ignore, routes }: Texts): string[] {
  const problems: string[] = [];
  const require = (holds: unknown, problem: string) => {
    if (!holds) problems.push(problem);
  };
  const lines = container
    .replaceAll("\\\n", " ")
    .split("\n")
    .filter((line) => /^[A-Z]+ /.test(line));
  const bases = lines.filter((line) => line.startsWith("FROM ")).map((line) => line.split(" ")[1] as string);
  require(bases.length >= 2, "it has one stage only");
  for (const base of bases) require(/:\d+(\.\d+)*(-[a-z-]+)?$/.test(base), `the base ${base} is not pinned`);
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { devDependencies: { bun: string } };
  require(bases.some((base) =>
    base.startsWith(`oven/bun:${manifest.devDependencies.bun}`),
  ), "it runs another Bun than the tests");

  const ignored = ignore.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const copied = lines
    .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
    .flatMap((line) => line.split(/\s+/).slice(1, -1));
  require(copied.length >= 10, "nothing is copied");
  for (const path of copied) {
    require(existsSync(join(root, path)), `${path} is copied and does not exist`);
    require(!ignored.some((pattern) => pattern.replace("**/", "") === path), `${path} is copied and ignored`);
  }
  // npm ci wants every package of the workspace, or it takes the lock for another project's.
  const manifests = projectFiles().filter((path) =>
    /^(libs\/[^/]+|apps\/[^/]+|tests|bench)\/package\.json$/.test(path),
  );
  for (const path of manifests) require(copied.includes(path), `${path} is not there for npm ci`);
  for (const needed of ["package-lock.json", "migrations", "libs", "apps"])
    require(copied.includes(needed), `${needed} is not copied`);
  require(lines.some((line) =>
    /^RUN npm (ci|install --no-save)\b.*--omit=dev/.test(line),
  ), "dependencies do not come from the lock");
  for (const secret of [".git", ".env", "**/node_modules"])
    require(ignored.includes(secret), `${secret} is not ignored`);

  const user = lines.findIndex((line) => /^USER (?!root|0\b)/.test(line));
  const command = lines.findIndex((line) => line.startsWith("CMD "));
  require(user >= 0 && user < command, "it runs as root");
  const words = command < 0 ? [] : (JSON.parse((lines[command] as string).slice(4)) as string[]);
  require(words[0] === "bun" &&
    existsSync(join(root, words[1] ?? "")), "its command is not Bun with a script that exists");
  require(copied.some((path) => (words[1] ?? "").startsWith(`${path}/`)), "its script is not copied");
  const health = lines.find((line) => line.startsWith("HEALTHCHECK "));
  require(health?.includes("/health`") && routes.includes('web.get("/health"'), "its health is not asked for");
  return problems;
}

test("[A8] compose.yaml, the Containerfile and the app fit together", () => {
  expect(problemsOf(texts)).toEqual([]);
});

test.each<[keyof Texts, string | RegExp, string, string]>([
  ["compose", '"127.0.0.1:3000:3000"', '"3000:3000"', "more than loopback"],
  ["compose", "postgres:18", "postgres:14", "not a Postgres 18"],
  ["compose", "data:/var/lib/postgresql", "data:/somewhere", "no volume"],
  ["compose", "dockerfile: Containerfile", "dockerfile: Dockerfile", "Containerfile is missing"],
  ["compose", "init: true", "init: false", "no init"],
  ["compose", "service_healthy", "service_started", "does not wait"],
  ["compose", "HOST: 0.0.0.0", "HOST: 127.0.0.1", "published port does not lead"],
  ["compose", 'PORT: "3000"', 'PORT: "4000"', "PORT is not the published one"],
  ["compose", "SMTP_URL:", "MAIL_URL:", "does not read MAIL_URL"],
  ["compose", "@postgres:5432/app", "@database:5432/app", "another server"],
  ["compose", "@postgres:5432/app", "@postgres:5432/other", "another database"],
  ["compose", "postgres://app:", "postgres://root:", "another user"],
  ["compose", "stop_grace_period: 30s", "stop_grace_period: 10s", "grace period"],
  ["compose", "healthcheck:", "unhealthcheck:", "no healthcheck"],
  ["container", "1.4.5-slim", "latest", "not pinned"],
  ["container", "oven/bun:1.4.5", "oven/bun:1.0.0", "another Bun"],
  ["container", "USER bun", "USER root", "runs as root"],
  ["container", /RUN npm [^\n]*/, "RUN npm install sluice", "from the lock"],
  ["container", "package-lock.json", "", "package-lock.json is not copied"],
  ["container", "COPY migrations migrations\n", "", "migrations is not copied"],
  ["container", "COPY tests/package.json tests/\n", "", "tests/package.json is not there"],
  ["container", "COPY libs libs", "COPY library library", "library is copied and does not exist"],
  ["container", "/health`", "/`", "health is not asked for"],
  ["container", "EXPOSE 3000", "EXPOSE 80", "not exposed"],
  ["container", '"apps/signup/main.ts"', '"apps/signup/index.ts"', "script that exists"],
  ["ignore", ".env", "", ".env is not ignored"],
  ["ignore", ".ci", "migrations", "migrations is copied and ignored"],
  ["service", 'drain: "10s"', 'drain: "60s"', "grace period"],
])("a change is noticed: %s without %s", (name, from, to, problem) => {
  const changed = { ...texts, [name]: texts[name].replace(from, to) };
  expect(changed[name]).not.toBe(texts[name]);
  expect(problemsOf(changed).join("\n")).toContain(problem);
});
