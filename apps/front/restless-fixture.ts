// An app that ends when it is told to: POST /end. GET /number tells which process it is.
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/end") setTimeout(() => process.exit(1), 10);
    return new Response(String(process.pid));
  },
});
console.log(`  restless        http://127.0.0.1:${server.port}/`);
process.stdin.on("end", () => process.exit(0)).resume();
