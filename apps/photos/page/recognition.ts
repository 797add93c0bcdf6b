import type { Database, Html } from "@sluice/app-kit";
import { html } from "hono/html";
import type { Recognisers } from "../recognisers.ts";

interface Member {
  readonly name: string;
  readonly window: string | null;
  readonly rate: string | null;
  readonly until: string | null;
}

/** Who recognises faces, by which hours, and the buttons that change it. */
export async function recognition({ sql }: Database, recognisers: Recognisers, isAllowed: boolean): Promise<Html> {
  const members = await sql<Member[]>`
    select name, "window", rate::text as rate, to_char(until at time zone 'UTC', 'HH24:MI') as until
    from sluice.hours h where "group" = 'faces'
      and exists (select from sluice.lag l where l."group" = 'faces' and l.owner = h.name) order by name`;
  const [first] = members;
  const hours =
    first === undefined
      ? ""
      : `${first.window ?? "normal"} hours: ${first.rate === null ? "as fast as it goes" : `at most ${first.rate}`}${first.until === null ? "" : `, until ${first.until} UTC`}`;
  const live = members.length;
  const state =
    live === 0
      ? recognisers.processes.count === 0
        ? "Stopped. Uploads go on, and wait."
        : "Starting …"
      : `${live} ${live === 1 ? "process" : "processes"}`;
  return html`<section id="recognition" class="card" aria-labelledby="recognition-title">
<h2 id="recognition-title">Face recognition</h2>
<p><span class="badge ${live === 0 ? "waiting" : "done"}">${state}</span> <span class="quiet">${hours}</span></p>
${isAllowed ? controls(recognisers) : ""}
</section>`;
}

function controls({ processes: { count }, hours }: Recognisers): Html {
  const button = (field: string, value: string, label: string, isOn: boolean) =>
    html`<button class="small ${isOn ? "" : "plain"}" name="${field}" value="${value}" ${isOn ? html`aria-pressed="true"` : ""}>${label}</button>`;
  return html`<form class="choices" method="post" action="/recognition">
<p><span class="quiet">Processes</span> ${["stop", "1", "2", "3"].map((label, number) => button("count", String(number), label, count === number))}</p>
<p><span class="quiet">Live in</span> ${button("hours", "clock", "the hours of the clock", hours === undefined)}
${(["busy", "normal", "idle"] as const).map((name) => button("hours", name, `${name} hours`, hours === name))}</p>
</form>`;
}
