/** Times that make a lease run out soon. */
export const shortLease = { lease: "2s", heartbeat: "400ms", poll: "50ms", drain: "10s" } as const;
