// One measured stretch of BullMQ: enqueues, drains or times lone jobs, and prints one JSON line.
// Starting Redis, flushing it and reading its counters is left to the harness (benchmarks/measure.py).
//
// Usage: node bench.mjs MODE OPTIONS
//   MODE     enqueue-single | enqueue-bulk | drain | latency-worker | latency-producer
//   OPTIONS  JSON object: host, port, jobs; in_flight (enqueue-single); chunk (enqueue-bulk); concurrency (drain,
//            latency-worker); interval_ms (latency-producer); remove_on_complete (optional: records to keep)

import { Queue, Worker } from "bullmq";

const QUEUE = "bench";
const NAME = "noop";

const monotonicUs = () => Number(process.hrtime.bigint() / 1000n);

const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const payload = (sentUs) => ({
  user: "user-00000123",
  space: "space-00000456",
  note: "a payload of 100 B",
  sent_us: sentUs,
});

// Twelve digits, like the clock of the latency cases, so that every case carries payloads of the same size.
const numbered = (index) => payload(100_000_000_000 + index);

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function timed(jobs, work) {
  const cpu = cpuSeconds();
  const start = monotonicUs();
  await work();
  print({ jobs, wall_s: (monotonicUs() - start) / 1e6, cpu_s: cpuSeconds() - cpu });
}

async function enqueueSingle(options) {
  const queue = new Queue(QUEUE, { connection: connection(options) });
  await queue.waitUntilReady();
  let next = 0;
  const producer = async () => {
    while (next < options.jobs) await queue.add(NAME, numbered(next++));
  };
  await timed(options.jobs, () => Promise.all(Array.from({ length: options.in_flight }, producer)));
  await queue.close();
}

async function enqueueBulk(options) {
  const queue = new Queue(QUEUE, { connection: connection(options) });
  await queue.waitUntilReady();
  await timed(options.jobs, async () => {
    for (let from = 0; from < options.jobs; from += options.chunk) {
      const size = Math.min(options.chunk, options.jobs - from);
      await queue.addBulk(Array.from({ length: size }, (_, i) => ({ name: NAME, data: numbered(from + i) })));
    }
  });
  await queue.close();
}

function workerOptions(options) {
  const keep = options.remove_on_complete;
  return {
    connection: connection(options),
    concurrency: options.concurrency,
    ...(keep === undefined ? {} : { removeOnComplete: { count: keep } }),
  };
}

async function drain(options) {
  let started = 0;
  let finished = 0;
  let start;
  let cpu;
  let report;
  const ended = deferred();
  const worker = new Worker(
    QUEUE,
    async () => {
      if (started++ === 0) {
        start = monotonicUs();
        cpu = cpuSeconds();
      }
      if (++finished === options.jobs) {
        report = { jobs: finished, wall_s: (monotonicUs() - start) / 1e6, cpu_s: cpuSeconds() - cpu };
        ended.resolve();
      }
    },
    workerOptions(options),
  );
  worker.on("error", ended.reject);
  await ended.promise;
  await worker.close();
  const queue = new Queue(QUEUE, { connection: connection(options) });
  const counts = await queue.getJobCounts("wait", "active", "delayed", "failed", "prioritized");
  await queue.close();
  const left = Object.values(counts).reduce((sum, count) => sum + count, 0);
  print({ ...report, left, rss_mb: process.resourceUsage().maxRSS / 1024 });
}

async function latencyWorker(options) {
  const latencies = [];
  const ended = deferred();
  const worker = new Worker(
    QUEUE,
    async (job) => {
      latencies.push(monotonicUs() - job.data.sent_us);
      if (latencies.length === options.jobs) ended.resolve();
    },
    workerOptions(options),
  );
  worker.on("error", ended.reject);
  await worker.waitUntilReady();
  print({ ready: true });
  await ended.promise;
  await worker.close();
  print({ jobs: latencies.length, latencies_us: latencies });
}

async function latencyProducer(options) {
  const queue = new Queue(QUEUE, { connection: connection(options) });
  await queue.waitUntilReady();
  const start = monotonicUs();
  for (let i = 0; i < options.jobs; i++) {
    const wait = start + i * options.interval_ms * 1000 - monotonicUs();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait / 1000));
    await queue.add(NAME, payload(monotonicUs()));
  }
  await queue.close();
  print({ jobs: options.jobs });
}

const connection = ({ host, port }) => ({ host, port });

// Promise.withResolvers is younger than Node 20.
function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

const modes = {
  "enqueue-single": enqueueSingle,
  "enqueue-bulk": enqueueBulk,
  drain,
  "latency-worker": latencyWorker,
  "latency-producer": latencyProducer,
};

const [mode, options] = process.argv.slice(2);
if (!(mode in modes) || options === undefined) {
  console.error(`bench.mjs: mode ${mode}, wanted one of ${Object.keys(modes).join(", ")} and a JSON object`);
  process.exit(2);
}
await modes[mode](JSON.parse(options));
