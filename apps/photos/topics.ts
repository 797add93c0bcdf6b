import { roundRobin, schedule, topic } from "sluice";
import { z } from "zod";

/** Which photo, and whose. The bytes stay in the table: a message is small, and a deleted photo is gone. */
const schema = z.object({ photo: z.uuid(), owner: z.uuid() });
const retention = { time: "7d" } as const;

/** One message for every photo, in the transaction of its row. No photo has to wait for another: they go round in turn. */
export const uploads = topic("photo-uploads", { schema, partitioner: roundRobin, partitions: 8, retention });

/**
 * Photos whose faces are known. The key is the owner: to find a person, a face is compared with all faces of its owner, so
 * the photos of one owner go one after the other, and those of several side by side.
 */
export const facesFound = topic("faces-found", { schema, key: (it) => it.owner, partitions: 4, retention });

/** Photos whose faces have their people. */
export const clustered = topic("photos-clustered", { schema, key: (it) => it.photo, partitions: 4, retention });

/** Says that it is time to look after the albums: every three seconds, however many photos came meanwhile. */
export const albumTicks = topic("album-ticks", { schema: z.object({}), partitions: 1, retention: { time: "1h" } });
export const albumSchedule = schedule(albumTicks, { name: "photo albums", every: "3s", value: {} });
