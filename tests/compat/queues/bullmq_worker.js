// A BullMQ worker: works on jobs until SIGTERM.
//
//   node bullmq_worker.js PORT DONE_FILE CONCURRENCY
'use strict';

const fs = require('fs');
const { setTimeout: sleep } = require('timers/promises');
const { Worker } = require('bullmq');

const JOB_MILLISECONDS = 10;

const [port, doneFile, concurrency] = process.argv.slice(2);

async function work(job) {
  await sleep(JOB_MILLISECONDS);
  // The number of the attempt is for whoever wonders about a job that was run again.
  fs.appendFileSync(doneFile, `${job.data.number} ${job.attemptsStarted}\n`);
}

const worker = new Worker('compat', work, {
  // On a Redis Cluster, a hash tag.
  prefix: process.env.KEY_PREFIX || undefined,
  // BullMQ asks for null here: a worker waits for its server as long as it takes.
  connection: { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null },
  concurrency: Number(concurrency),
  // A job whose end could not be recorded is given out again when its lock has run out. The usual
  // 30 seconds would make the run long; with the usual one time it would not survive two restarts.
  lockDuration: 3000,
  stalledInterval: 1000,
  maxStalledCount: 10,
});
worker.on('error', (error) => console.log(`error: ${error.message}`));
worker.on('failed', (job, error) => console.log(`failed: ${job && job.id}: ${error.message}`));
worker.on('stalled', (id) => console.log(`stalled: ${id}`));

process.on('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
