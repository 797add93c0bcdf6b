/** Why a text cannot be an endpoint's URL; `undefined` when it can. */
export function urlProblem(text: string): string | undefined {
  if (text.length > 2_000 || !URL.canParse(text)) return "is not a URL of at most 2,000 characters";
  const { protocol, username, password } = new URL(text);
  if (protocol !== "https:" && protocol !== "http:") return "must be an http or https URL";
  return username === "" && password === "" ? undefined : "must not hold a user or a password: it is shown in SQL";
}

/** Why a text cannot be the name of a check-back; `undefined` when it can. */
export function nameProblem(text: string): string | undefined {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$/.test(text)
    ? undefined
    : 'must be 1 to 120 letters, digits, ".", "_" or "-", beginning with a letter or digit';
}

/** Whether a check-back is an endpoint and no name: names hold no colon. */
export function isUrl(text: string): boolean {
  return text.includes(":");
}

/** Why a text cannot be an allowed origin; `undefined` when it can. */
export function originProblem(text: string): string | undefined {
  const problem = urlProblem(text);
  if (problem !== undefined) return problem;
  return new URL(text).origin === text ? undefined : `must be an origin alone, such as ${new URL(text).origin}`;
}
