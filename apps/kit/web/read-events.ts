/** The data of each server-sent event of an answer, parsed as JSON, until the stream ends; nothing of an answer that is no 2xx. */
export async function* readEvents(response: Response): AsyncGenerator<unknown> {
  if (response.body === null || !response.ok) return;
  let rest = "";
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
  }
}
