// Calls of ioredis, each printed with its result: `script.js plain|cluster PORT`.
'use strict';

const Redis = require('ioredis');

const [kind, port] = [process.argv[2], Number(process.argv[3])];
const at = { host: '127.0.0.1', port };
const connect = () => (kind === 'cluster' ? new Redis.Cluster([at]) : new Redis(at));
const keys = Array.from({ length: 30 }, (_, number) => `key:${number}`);
const client = connect();

async function show(name, call) {
  let result;
  try {
    result = await call();
  } catch (error) {
    result = `${error.name}: ${error.message}`;
  }
  console.log(`${name}: ${JSON.stringify(result)}`);
}

async function values() {
  for (const key of keys) await show(`set ${key}`, () => client.set(key, key.toUpperCase()));
  await show('gets at once', () => Promise.all(keys.map((key) => client.get(key))));
  await show('incr', () => client.incr('counter'));
  await show('incr of text', () => client.incr(keys[0]));
  await show('mset of a slot', () => client.mset('{tag}1', 1, '{tag}2', 2));
  await show('mget of a slot', () => client.mget('{tag}1', '{tag}2', '{tag}3'));
  await show('hset', () => client.hset('hash', { a: 1, b: 2 }));
  await show('hgetall', () => client.hgetall('hash'));
  await show('rpush', () => client.rpush('list', 1, 2, 3));
  await show('blpop', () => client.blpop('list', 1));
  await show('lrange', () => client.lrange('list', 0, -1));
  await show('zadd', () => client.zadd('zset', 1.5, 'a', 2, 'b'));
  await show('zrange', () => client.zrange('zset', 0, -1, 'WITHSCORES'));
  await show('xadd', () => client.xadd('stream', '1-1', 'f', 'v'));
  await show('xread', () => client.xread('COUNT', 1, 'STREAMS', 'stream', '0'));
  await show('wrong type', () => client.lpush('hash', 'x'));
  await show('eval', () => client.eval('return {KEYS[1],ARGV[1]}', 1, 'k', 'v'));
  client.defineCommand('double', { numberOfKeys: 1, lua: "return redis.call('incrby',KEYS[1],2)" });
  await show('defined command', () => client.double('counter'));
  await show('buffer', () => client.getBuffer(keys[1]));
}

async function together() {
  await show('pipeline of a slot', () =>
    client.pipeline().set('{tag}1', 5).incr('{tag}1').get('{tag}2').lpush('{tag}1', 'x').exec()
      .then((all) => all.map(([error, value]) => (error ? error.message : value))));
  await show('transaction', () => client.multi().incr('{tag}1').get('{tag}2').exec());
  await show('failed transaction', () => client.multi().incr('{tag}1').set('{tag}2').exec());
}

async function messages() {
  const subscriber = connect();
  const heard = new Promise((resolve) => {
    subscriber.on('message', (channel, message) => resolve([channel, message]));
  });
  await show('subscribe', () => subscriber.subscribe('news'));
  await client.publish('news', 'hello');
  await show('message', () => heard);
  subscriber.disconnect();
}

async function shape() {
  if (kind === 'cluster') {
    await show('slots served', async () =>
      (await client.cluster('SLOTS')).reduce((sum, [first, last]) => sum + last - first + 1, 0));
    await show('state', async () => /cluster_state:ok/.test(await client.cluster('INFO')));
    await show('keyslot', () => client.cluster('KEYSLOT', 'foo'));
    await show('mode', async () => /redis_mode:(\w+)/.exec(await client.info('server'))[1]);
    await show('enabled', async () => /cluster_enabled:\d/.exec(await client.info('cluster'))[0]);
  } else {
    await show('mget of many', () => client.mget(...keys, 'none'));
    await show('exists of many', () => client.exists(...keys, 'none'));
    await show('dbsize', () => client.dbsize());
    await show('cluster', () => client.cluster('INFO'));
    await show('mode', async () => /redis_mode:(\w+)/.exec(await client.info('server'))[1]);
    await show('enabled', async () => /cluster_enabled:\d/.exec(await client.info('cluster'))[0]);
  }
  for (const key of keys) await show(`del ${key}`, () => client.del(key));
  for (const key of ['hash', 'list', 'zset', 'stream', 'counter', '{tag}1', '{tag}2']) {
    await show(`unlink ${key}`, () => client.unlink(key));
  }
}

async function main() {
  await values();
  await together();
  await messages();
  await shape();
  client.disconnect();
}
main();
