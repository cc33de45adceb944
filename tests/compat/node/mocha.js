// Runs mocha tests against one port and tells how each ended.
//
//   node mocha.js SUITE_DIRECTORY PORT OUTCOMES_FILE TITLES FILE...
//
// TITLES is a regular expression of full titles; each test adds a line of JSON to OUTCOMES_FILE.
'use strict';

const fs = require('fs');
const net = require('net');

const USUAL_PORT = 6379;
const TEST_MILLISECONDS = 5000;

const [directory, port, outcomes, titles, ...files] = process.argv.slice(2);
const Mocha = require(require.resolve('mocha', { paths: [directory] }));

// The tests connect to the usual port of localhost: send them to ours. One connects to an address
// that never answers: it gets a socket that never connects, as nothing may leave the machine.
function keepOnLoopback() {
  const plainConnect = net.createConnection;
  const connect = function (options, ...rest) {
    if (options.path) {
      return plainConnect(options, ...rest);
    }
    const host = options.host || 'localhost';
    if (host !== 'localhost' && !host.startsWith('127.')) {
      return new net.Socket();
    }
    const ours = options.port === USUAL_PORT ? Number(port) : options.port;
    return plainConnect({ ...options, host: '127.0.0.1', port: ours }, ...rest);
  };
  net.createConnection = connect;
  net.connect = connect;
}

function tell(name, outcome) {
  fs.appendFileSync(outcomes, JSON.stringify({ name, outcome }) + '\n');
}

function Outcomes(runner) {
  runner.on('pass', (test) => tell(test.fullTitle(), 'passed'));
  runner.on('pending', (test) => tell(test.fullTitle(), 'skipped'));
  runner.on('fail', (test, error) => {
    // Of a hook this is the name of the hook, which passes directly or fails there as well.
    tell(test.fullTitle(), 'failed');
    console.log(`${test.fullTitle()}\n${error.stack || error}\n`);
  });
}

keepOnLoopback();
const mocha = new Mocha({ reporter: Outcomes, timeout: TEST_MILLISECONDS });
mocha.grep(new RegExp(titles));
files.forEach((file) => mocha.addFile(file));
// Tests leave connections open, which would keep the process alive.
mocha.run(() => process.exit(0));
