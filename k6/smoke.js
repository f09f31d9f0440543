// The story's load: 20 users with ws.connect join a room, talk, and close with 1000 and with 1001, again and
// again. With STAY=1 they stay instead, so that killing k6 drops every connection without a close frame.
//
// k6 cannot see the server's log, where the story's bug showed: tests/tests/k6.rs runs this against each binary,
// both ways, and reads the log afterwards.
//
//   k6 run -e URL=ws://127.0.0.1:8080/ws k6/smoke.js

import { check } from 'k6';
import exec from 'k6/execution';
import { Counter, Rate } from 'k6/metrics';
import ws from 'k6/ws';

const URL = __ENV.URL || 'ws://127.0.0.1:8080/ws';
const USERS = 20;
const MESSAGES = 3;
const ITERATIONS = 4;
// What is still in flight at a close is lost to the counts: users are quiet first.
const QUIET_MS = 2000;

const STAY = __ENV.STAY === '1';
const ENDINGS = [1000, 1001];

const acknowledged = new Counter('chat_acknowledged');
const received = new Counter('chat_received');
const ordered = new Rate('chat_ordered');
const complete = new Rate('chat_complete');

export const options = {
  scenarios: {
    talk: { executor: 'per-vu-iterations', vus: USERS, iterations: ITERATIONS, maxDuration: '2m' },
  },
  thresholds: {
    checks: ['rate==1'],
    ws_session_duration: ['max<60000'],
    chat_acknowledged: [`count==${USERS * ITERATIONS * MESSAGES}`],
    chat_ordered: ['rate==1'],
    chat_complete: ['rate==1'],
  },
};

export default function () {
  const user = `user-${exec.vu.idInTest}`;
  const ending = ENDINGS[(exec.vu.idInTest + exec.vu.iterationInScenario) % ENDINGS.length];
  const acks = {};
  let welcomed = false;
  let seq = -1;
  let failure = '';

  const response = ws.connect(`${URL}?name=${user}`, { headers: { 'Sec-WebSocket-Protocol': 'chat.v1' } }, (socket) => {
    const send = (command) => socket.send(JSON.stringify(command));

    socket.on('message', (text) => {
      const event = JSON.parse(text);
      switch (event.type) {
        case 'welcome':
          welcomed = event.user.id === user;
          send({ type: 'join', ref: 'join', room: 'lobby' });
          break;
        case 'joined':
          seq = event.seq;
          for (let n = 0; n < MESSAGES; n += 1) {
            send({ type: 'send', ref: `${n}`, room: 'lobby', key: `${exec.scenario.iterationInTest}-${n}`, body: { text: `안녕 ${n}` } });
          }
          if (!STAY) {
            socket.setTimeout(() => {
              complete.add(Object.keys(acks).length === MESSAGES);
              socket.close(ending);
            }, QUIET_MS);
          }
          break;
        case 'message':
          received.add(1);
          ordered.add(event.seq === seq + 1);
          seq = event.seq;
          break;
        case 'sent':
          acknowledged.add(1);
          acks[event.ref] = event.seq;
          break;
        case 'error':
          failure = event.code;
          break;
        default:
      }
    });
  });
  check(response, { 'the upgrade is answered 101': (r) => r && r.status === 101 });
  check(null, { 'welcomed by name': () => welcomed, 'no error event': () => failure === '' });
}
