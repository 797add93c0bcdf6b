/** A sample app, as the front knows it. */
export interface SampleApp {
  /** The name of its folder and of its program. */
  readonly name: string;
  readonly title: string;
  /** What it shows, in two sentences. */
  readonly what: string;
  /** Its topics, in the order in which messages go through them: that of the live picture. */
  readonly topics: readonly string[];
  readonly main: URL;
}

function sample(name: string, title: string, what: string, topics: readonly string[]): SampleApp {
  return { name, title, what, topics, main: new URL(`../${name}/main.ts`, import.meta.url) };
}

/** All of them, in the order of the front page and of `--once`. */
export const sampleApps: readonly SampleApp[] = [
  sample(
    "signup",
    "Sign-up: a request that does not wait",
    "The request writes the user and one message in one transaction and answers; mail and text message follow on their own. It shows how long a request takes with and without the queue, and what is left of an outage.",
    ["signups"],
  ),
  sample(
    "photos",
    "Photos: a pipeline whose stages go each at its own pace",
    "Photos go from upload to faces, clusters and index, by real face recognition in processes of their own. It shows uploads that go on while recognition is down, hours of the day at different speeds, a second recogniser, and one that is killed.",
    ["photo-uploads", "faces-found", "photos-clustered", "album-ticks"],
  ),
  sample(
    "flash-sale",
    "Flash sale: a peak that nothing falls over",
    "Thousands of orders a second meet an order service that manages a hundred: a bounded line takes what can be served, everybody else hears “sold out” at once, and exactly the stock is sold. It shows what the same burst does to the service without the line, and with its process killed in the middle.",
    ["flash-orders", "flash-payment-deadlines"],
  ),
];
