// Calls each service with the AWS SDK for JavaScript.
const assert = require("node:assert");
const eic = require("@aws-sdk/client-ec2-instance-connect");
const ec2 = require("@aws-sdk/client-ec2");
const lightsail = require("@aws-sdk/client-lightsail");
const sts = require("@aws-sdk/client-sts");

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC";
const rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDDlc1w+uGlCli4N5a2sCKvUg/v8bBtDT57XBLTKRdHkjzVSTfhBecw8CmfjKRKXDMXHUsGdSPNiNnnBTZwWaSyXBWBFXDhM9a5IwL+wYmytBypBur6XlX1/ubTwZrHpyIBlYFc2qzHH4jd9oOfJH7HDXwF8mnpPliiCWMXwca5zpbYgag7MCfcgn/cMjRHIMnMPSncMiuyYCAM5VMETXAtNcg/B7tYFY0K30V7ubzvOPM4sj9wVs5BHNuhbSkuAsa6dzrU9MZ8gCgZ8tzi2kpLAaTmowdqSxLzzTYfgw4snQWjdYXr5BkeLJdedoQUOAENIFekpXn+GdL8ZrTUWNcB";
const InstanceId = "i-0123456789abcdef0";

async function metadata(path) {
  const base = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
  const token = await (await fetch(base + "/latest/api/token", { method: "PUT", headers: { "X-aws-ec2-metadata-token-ttl-seconds": "60" } })).text();
  return (await fetch(base + "/latest/meta-data/" + path, { headers: { "X-aws-ec2-metadata-token": token } })).text();
}

async function main() {
  const options = { region: process.env.AWS_DEFAULT_REGION, maxAttempts: 1 };
  const connect = new eic.EC2InstanceConnectClient(options);
  const push = (input) => connect.send(new eic.SendSSHPublicKeyCommand({ InstanceId, InstanceOSUser: "alice", SSHPublicKey: key, ...input }));
  const pushed = await push({});
  assert(pushed.Success && pushed.RequestId);
  const record = await metadata("managed-ssh-keys/active-keys/alice/");
  assert(record.includes(key) && record.includes("#Request=" + pushed.RequestId), record);
  await assert.rejects(push({ InstanceId: "i-00000009" }), eic.EC2InstanceNotFoundException);
  await assert.rejects(push({ InstanceOSUser: "0" }), eic.InvalidArgsException);
  await assert.rejects(connect.send(new eic.SendSerialConsoleSSHPublicKeyCommand({ InstanceId, SSHPublicKey: key })), eic.SerialConsoleAccessDisabledException);

  const compute = new ec2.EC2Client(options);
  const imported = await compute.send(new ec2.ImportKeyPairCommand({ KeyName: "mine", PublicKeyMaterial: Buffer.from(rsa), TagSpecifications: [{ ResourceType: "key-pair", Tags: [{ Key: "a", Value: "b" }] }] }));
  assert.match(imported.KeyPairId, /^key-/);
  assert.strictEqual(imported.KeyFingerprint, "7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5");
  const made = await compute.send(new ec2.CreateKeyPairCommand({ KeyName: "made" }));
  assert.match(made.KeyMaterial, /^-----BEGIN RSA PRIVATE KEY-----/);
  const names = [];
  for (const pair of (await compute.send(new ec2.DescribeKeyPairsCommand({}))).KeyPairs) names.push(pair.KeyName);
  assert.deepStrictEqual(names.sort(), ["made", "mine"]);
  await assert.rejects(compute.send(new ec2.DescribeKeyPairsCommand({ KeyNames: ["nobody"] })), { name: "InvalidKeyPair.NotFound" });
  const started = await compute.send(new ec2.RunInstancesCommand({ ImageId: "ami-12345678", MinCount: 1, MaxCount: 1, KeyName: "mine" }));
  const id = started.Instances[0].InstanceId;
  await ec2.waitUntilInstanceRunning({ client: compute, maxWaitTime: 600 }, { InstanceIds: [id] });
  await compute.send(new ec2.TerminateInstancesCommand({ InstanceIds: [id] }));
  await ec2.waitUntilInstanceTerminated({ client: compute, maxWaitTime: 600 }, { InstanceIds: [id] });

  const sail = new lightsail.LightsailClient(options);
  assert.strictEqual((await sail.send(new lightsail.ImportKeyPairCommand({ keyPairName: "mine", publicKeyBase64: rsa }))).operation.status, "Succeeded");
  assert.strictEqual((await sail.send(new lightsail.GetKeyPairCommand({ keyPairName: "mine" }))).keyPair.name, "mine");
  await assert.rejects(sail.send(new lightsail.GetKeyPairCommand({ keyPairName: "nobody" })), lightsail.NotFoundException);

  assert.strictEqual((await new sts.STSClient(options).send(new sts.GetCallerIdentityCommand({}))).Arn, "arn:aws:iam::123456789012:user/test");
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
