// A normal life of the official SDK against the local Service Bus, over TLS, over a WebSocket, and as an emulator.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ServiceBusAdministrationClient, ServiceBusClient } from "@azure/service-bus";
import WebSocket from "ws";

const { AZURE_SERVICEBUS_CONNECTION_STRING, AZURE_SERVICEBUS_TLS_CONNECTION_STRING, SERVICEBUS_TLS_WRONG_KEY } = process.env;
if (!AZURE_SERVICEBUS_TLS_CONNECTION_STRING) {
  throw new Error("AZURE_SERVICEBUS_TLS_CONNECTION_STRING is not set: run this by `make sdks`");
}

const retryOptions = { maxRetries: 0, timeoutInMs: 30_000 };
const admin = new ServiceBusAdministrationClient(AZURE_SERVICEBUS_TLS_CONNECTION_STRING);
const clients = {
  tls: new ServiceBusClient(AZURE_SERVICEBUS_TLS_CONNECTION_STRING, { retryOptions }),
  websocket: new ServiceBusClient(AZURE_SERVICEBUS_TLS_CONNECTION_STRING, { retryOptions, webSocketOptions: { webSocket: WebSocket } }),
  emulator: new ServiceBusClient(AZURE_SERVICEBUS_CONNECTION_STRING, { retryOptions }),
};
after(async () => {
  for (const client of Object.values(clients)) {
    await client.close();
  }
});

let number = 0;
const fresh = () => `node-${process.pid}-${(number += 1)}`;

async function queue(options = {}) {
  const name = fresh();
  await admin.createQueue(name, options);
  return name;
}

async function take(receiver, count) {
  const found = [];
  while (found.length < count) {
    found.push(...(await receiver.receiveMessages(count - found.length, { maxWaitTimeInMs: 20_000 })));
  }
  return found;
}

for (const [way, client] of Object.entries(clients)) {
  test(`messages come back as they were sent (${way})`, async () => {
    const name = await queue();
    const sender = client.createSender(name);
    const receiver = client.createReceiver(name);
    await sender.sendMessages({
      body: { json: [1, "two"] }, messageId: "m1", subject: "s", correlationId: "c", contentType: "application/json",
      applicationProperties: { n: 7, text: "x", yes: true },
    });
    await sender.sendMessages([{ body: "text" }, { body: Buffer.from("bytes") }, { body: null }]);
    const batch = await sender.createMessageBatch();
    for (let n = 0; n < 10; n += 1) {
      assert.ok(batch.tryAddMessage({ body: n }));
    }
    await sender.sendMessages(batch);
    const found = await take(receiver, 14);
    assert.deepEqual(found[0].body, { json: [1, "two"] });
    assert.deepEqual([found[0].messageId, found[0].subject, found[0].contentType], ["m1", "s", "application/json"]);
    assert.deepEqual(found[0].applicationProperties, { n: 7, text: "x", yes: true });
    assert.equal(found[1].body, "text");
    assert.deepEqual(found.slice(4).map((one) => one.body), [...Array(10).keys()]);
    for (const message of found) {
      assert.ok((await receiver.renewMessageLock(message)) > new Date());
      await receiver.completeMessage(message);
    }
    assert.deepEqual(await receiver.peekMessages(10), []);
    await receiver.close();
    await sender.close();
  });

  test(`value, sequence and data bodies (${way})`, async () => {
    const name = await queue();
    const sender = client.createSender(name);
    const receiver = client.createReceiver(name);
    await sender.sendMessages([
      { bodyType: "value", body: { a: 1 }, footer: { crc: 9 }, messageAnnotations: { mine: "x" } },
      { bodyType: "sequence", body: [1, "b"] },
      { bodyType: "data", body: Buffer.from("x") },
    ]);
    const found = await take(receiver, 3);
    const raw = found.map((one) => one._rawAmqpMessage);
    assert.deepEqual(raw.map((one) => one.bodyType), ["value", "sequence", "data"]);
    assert.deepEqual([found[0].body, found[1].body], [{ a: 1 }, [1, "b"]]);
    assert.equal(raw[0].messageAnnotations.mine, "x");
    assert.equal(raw[0].footer.crc, 9);
    await receiver.close();
  });

  test(`settlements (${way})`, async () => {
    const name = await queue({ maxDeliveryCount: 3 });
    const sender = client.createSender(name);
    const receiver = client.createReceiver(name);
    const letters = client.createReceiver(name, { subQueueType: "deadLetter" });
    await sender.sendMessages({ body: "poison" });
    for (let n = 0; n < 3; n += 1) {
      const [message] = await take(receiver, 1);
      assert.equal(message.deliveryCount, n);
      await receiver.abandonMessage(message, { tried: n });
    }
    let [letter] = await take(letters, 1);
    assert.equal(letter.deadLetterReason, "MaxDeliveryCountExceeded");
    assert.equal(letter.applicationProperties.tried, 2);
    await letters.completeMessage(letter);

    await sender.sendMessages({ body: "bad" });
    let [message] = await take(receiver, 1);
    await receiver.deadLetterMessage(message, {
      deadLetterReason: "why", deadLetterErrorDescription: "because", by: "me",
    });
    [letter] = await take(letters, 1);
    assert.deepEqual([letter.deadLetterReason, letter.deadLetterErrorDescription], ["why", "because"]);
    assert.equal(letter.applicationProperties.by, "me");

    await sender.sendMessages({ body: "later" });
    [message] = await take(receiver, 1);
    await receiver.deferMessage(message);
    const [deferred] = await receiver.receiveDeferredMessages(message.sequenceNumber);
    await receiver.completeMessage(deferred);
    await assert.rejects(receiver.receiveDeferredMessages(message.sequenceNumber), { code: "MessageNotFound" });

    await sender.sendMessages({ body: "gone" });
    const deleting = client.createReceiver(name, { receiveMode: "receiveAndDelete" });
    assert.equal((await take(deleting, 1))[0].body, "gone");
    await deleting.close();
  });

  test(`scheduled messages (${way})`, async () => {
    const name = await queue();
    const sender = client.createSender(name);
    const receiver = client.createReceiver(name);
    const later = await sender.scheduleMessages({ body: "never" }, new Date(Date.now() + 3_600_000));
    await sender.cancelScheduledMessages(later);
    await sender.scheduleMessages({ body: "now" }, new Date());
    assert.equal((await take(receiver, 1))[0].body, "now");
  });

  test(`sessions (${way})`, async () => {
    const name = await queue({ requiresSession: true });
    const sender = client.createSender(name);
    for (let n = 0; n < 4; n += 1) {
      await sender.sendMessages({ body: n, sessionId: "ab"[n % 2] });
    }
    const mine = await client.acceptSession(name, "a");
    const next = await client.acceptNextSession(name);
    assert.deepEqual([mine.sessionId, next.sessionId], ["a", "b"]);
    assert.ok((await mine.renewSessionLock()) > new Date());
    for (const state of ["state", null]) {
      await mine.setSessionState(state);
      assert.equal(await mine.getSessionState(), state);
    }
    const found = await take(mine, 2);
    assert.deepEqual(found.map((one) => one.body), [0, 2]);
    for (const message of found) {
      await mine.completeMessage(message);
    }
    await assert.rejects(client.acceptSession(name, "b"), { code: "SessionCannotBeLocked" });
    await mine.close();
    await next.close();
  });

  test(`a topic's subscriptions and rules (${way})`, async () => {
    const topic = fresh();
    await admin.createTopic(topic);
    await admin.createSubscription(topic, "s");
    const rules = client.createRuleManager(topic, "s");
    await rules.createRule("big", { sqlExpression: "n > 5" }, { sqlExpression: "SET seen = 'yes'" });
    await rules.createRule("mine", { subject: "mine", applicationProperties: { k: "v" } });
    await rules.deleteRule("$Default");
    const found = {};
    for await (const rule of rules.listRules()) {
      found[rule.name] = rule;
    }
    assert.deepEqual(Object.keys(found), ["big", "mine"]);
    assert.equal(found.big.filter.sqlExpression, "n > 5");
    assert.equal(found.big.action.sqlExpression, "SET seen = 'yes'");
    assert.deepEqual(found.mine.filter.applicationProperties, { k: "v" });
    const sender = client.createSender(topic);
    for (let n = 0; n < 10; n += 1) {
      await sender.sendMessages({ body: n, applicationProperties: { n } });
    }
    const receiver = client.createReceiver(topic, "s");
    const got = await take(receiver, 4);
    assert.deepEqual(got.map((one) => one.body), [6, 7, 8, 9]);
    assert.equal(got[0].applicationProperties.seen, "yes");
    await receiver.close();
  });
}

test("the management client", async () => {
  assert.equal((await admin.getNamespaceProperties()).messagingSku, "Standard");
  const name = await queue({ lockDuration: "PT45S", enableBatchedOperations: false, userMetadata: "<mine>" });
  const read = await admin.getQueue(name);
  assert.deepEqual([read.lockDuration, read.enableBatchedOperations, read.userMetadata], ["PT45S", false, "<mine>"]);
  read.maxDeliveryCount = 7;
  assert.equal((await admin.updateQueue(read)).maxDeliveryCount, 7);
  assert.equal((await admin.getQueueRuntimeProperties(name)).totalMessageCount, 0);
  assert.equal(await admin.queueExists(name), true);
  assert.equal(await admin.queueExists("nothing"), false);
  const names = [];
  for await (const page of admin.listQueues().byPage({ maxPageSize: 2 })) {
    names.push(...page.map((one) => one.name));
  }
  assert.ok(names.includes(name));
  await assert.rejects(admin.createQueue(name), { code: "MessageEntityAlreadyExistsError" });
  await assert.rejects(admin.getQueue("nothing"), { code: "MessageEntityNotFoundError" });
  await admin.deleteQueue(name);

  const topic = fresh();
  await admin.createTopic(topic);
  await admin.createSubscription(topic, "s");
  const parameters = { "@n": 5, "@t": "x", "@yes": true, "@when": new Date(1000) };
  await admin.createRule(topic, "s", "sql", { sqlExpression: "n > @n", sqlParameters: parameters });
  const rule = await admin.getRule(topic, "s", "sql");
  assert.deepEqual(rule.filter.sqlParameters, parameters);
  rule.filter = { correlationId: "c" };
  await admin.updateRule(topic, "s", rule);
  const rules = [];
  for await (const one of admin.listRules(topic, "s")) {
    rules.push(one.name);
  }
  assert.deepEqual(rules, ["$Default", "sql"]);
  const subscriptions = [];
  for await (const one of admin.listSubscriptions(topic)) {
    subscriptions.push(one.subscriptionName);
  }
  for await (const one of admin.listSubscriptionsRuntimeProperties(topic)) {
    assert.equal(one.totalMessageCount, 0);
  }
  assert.deepEqual(subscriptions, ["s"]);
  await admin.deleteTopic(topic);
});

test("a key that is wrong", async () => {
  const client = new ServiceBusClient(SERVICEBUS_TLS_WRONG_KEY, { retryOptions });
  await assert.rejects(client.createSender(await queue()).sendMessages({ body: "x" }), { code: "UnauthorizedAccess" });
  await client.close();
});
