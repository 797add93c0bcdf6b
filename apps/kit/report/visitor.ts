/** Somebody with a session of their own who uses an app over HTTP: keeps the cookie that came with the first answer. */
export class Visitor {
  readonly url: string;
  #cookie: string | undefined;

  constructor(url: string, cookie?: string) {
    this.url = url;
    this.#cookie = cookie;
  }

  /** `name=value`, as it was sent; undefined before the first answer that came with one. */
  get cookie(): string | undefined {
    return this.#cookie;
  }

  /** Asks. Redirects are not followed. */
  async ask(
    path: string,
    init: { method?: string; headers?: Record<string, string>; body?: FormData | URLSearchParams | string } = {},
  ): Promise<Response> {
    const headers = { ...init.headers, ...(this.#cookie === undefined ? {} : { cookie: this.#cookie }) };
    const response = await fetch(this.url + path, { ...init, headers, redirect: "manual" });
    this.#cookie ??= response.headers.get("set-cookie")?.split(";")[0];
    return response;
  }
}
