/** SQL files are imported as text: `import statement from "./sql/append.sql" with { type: "text" }`. */
declare module "*.sql" {
  const text: string;
  export default text;
}
