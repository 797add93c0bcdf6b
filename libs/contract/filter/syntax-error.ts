/** What is wrong with a filter's text, and where: the parser's own error, told to users as a problem of their declaration. */
export class FilterSyntaxError extends Error {
  /** @param at how many UTF-16 units come before the place */
  constructor(at: number, what: string) {
    super(`at character ${at + 1}: ${what}`);
  }
}
