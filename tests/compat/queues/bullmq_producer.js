// Adds numbered jobs to a BullMQ queue, each until it is known to be there.
//
//   node bullmq_producer.js PORT JOBS
'use strict';

const { setTimeout: sleep } = require('timers/promises');
const { Queue, QueueEvents } = require('bullmq');

const BATCH = 10;
const PAUSE_MILLISECONDS = 20;
const RETRY_MILLISECONDS = 200;

const port = Number(process.argv[2]);
const jobs = Number(process.argv[3]);

const connection = { host: '127.0.0.1', port };
// On a Redis Cluster, a hash tag.
const prefix = process.env.KEY_PREFIX || undefined;
const queue = new Queue('compat', { connection, prefix });
queue.on('error', (error) => console.log(`error: ${error.message}`));

// Nothing depends on the events, but people listen to them, and they read with XREAD BLOCK.
const events = new QueueEvents('compat', {
  prefix,
  connection: { ...connection, maxRetriesPerRequest: null },
});
events.on('error', (error) => console.log(`events error: ${error.message}`));
const completed = new Set();
events.on('completed', ({ jobId }) => completed.add(jobId));

// BullMQ takes no id of digits only. One that is there already is not added again.
function job(number) {
  return { name: 'count', data: { number }, opts: { jobId: `job-${number}` } };
}

async function untilDone(what, action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      console.log(`retry ${what}: ${error.message}`);
      await sleep(RETRY_MILLISECONDS);
    }
  }
}

// Every second batch is added as one transaction, as addBulk does it.
async function addBatch(numbers, bulk) {
  if (bulk) {
    await untilDone(`batch of ${numbers[0]}`, () => queue.addBulk(numbers.map(job)));
    return;
  }
  for (const number of numbers) {
    const { name, data, opts } = job(number);
    await untilDone(number, () => queue.add(name, data, opts));
  }
}

async function main() {
  for (let first = 0; first < jobs; first += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, jobs - first) }, (_, i) => first + i);
    await addBatch(numbers, (first / BATCH) % 2 === 1);
    await sleep(PAUSE_MILLISECONDS);
  }
  console.log('all added');
}

process.on('SIGTERM', () => {
  console.log(`completed events: ${completed.size}`);
  process.exit(0);
});
main();
