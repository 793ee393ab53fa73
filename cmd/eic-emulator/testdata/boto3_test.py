"""What boto3 sees of eic-emulator. The environment names the emulator; an
assertion that fails ends the script."""

import base64
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore.exceptions import ClientError

ENDPOINT, INSTANCE, LINE = os.environ["ENDPOINT"], os.environ["INSTANCE"], os.environ["LINE"]


def client(service):
    return boto3.client(
        service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


def code(f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except ClientError as e:
        return e.response["Error"]["Code"]
    return ""


ec2, connect, lightsail, sts = client("ec2"), client("ec2-instance-connect"), client("lightsail"), client("sts")

who = sts.get_caller_identity()
assert (who["Account"], who["Arn"]) == ("123456789012", "arn:aws:iam::123456789012:user/test"), who

imported = ec2.import_key_pair(KeyName="k", PublicKeyMaterial=LINE.encode())
assert "Tags" not in imported, imported
created = ec2.create_key_pair(KeyName="c", KeyType="ed25519", TagSpecifications=[
    {"ResourceType": "key-pair", "Tags": [{"Key": "team", "Value": "a*b"}]}])
assert created["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----") and created["Tags"], created
tagged = ec2.describe_key_pairs(Filters=[{"Name": "tag:team", "Values": [r"a\*b"]}])["KeyPairs"]
assert [p["KeyName"] for p in tagged] == ["c"], tagged
assert code(ec2.import_key_pair, KeyName="k", PublicKeyMaterial=b"junk") == "InvalidKey.Format"
assert code(ec2.describe_key_pairs, KeyNames=["none"]) == "InvalidKeyPair.NotFound"

for page in ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}):
    assert page["Reservations"]
ec2.stop_instances(InstanceIds=[INSTANCE])
ec2.get_waiter("instance_stopped").wait(InstanceIds=[INSTANCE], WaiterConfig={"Delay": 1, "MaxAttempts": 5})
push = {"InstanceId": INSTANCE, "InstanceOSUser": "alice", "SSHPublicKey": LINE}
assert code(connect.send_ssh_public_key, **push) == "EC2InstanceStateInvalidException"
ec2.start_instances(InstanceIds=[INSTANCE])
ec2.get_waiter("instance_running").wait(InstanceIds=[INSTANCE], WaiterConfig={"Delay": 1, "MaxAttempts": 5})
assert connect.send_ssh_public_key(**push)["Success"] is True

operation = lightsail.import_key_pair(keyPairName="kk", publicKeyBase64=os.environ["RSA"])["operation"]
assert lightsail.get_operation(operationId=operation["id"])["operation"]["status"] == "Succeeded"


def fetch(url, method, body=None):
    request = urllib.request.Request(url, data=body, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


# Presigned URLs, by GET and by POST, for the query protocols.
for service, operation, parameters, want in [
    (ec2, "describe_key_pairs", {"KeyNames": ["k"]}, "<keyName>k</keyName>"),
    (sts, "get_caller_identity", {}, "<Arn>arn:aws:iam::123456789012:user/test</Arn>"),
]:
    for method in ["GET", "POST"]:
        url = service.generate_presigned_url(operation, Params=parameters, HttpMethod=method, ExpiresIn=60)
        status, body = fetch(url, method, b"" if method == "POST" else None)
        assert status == 200 and want in body, (method, status, body)
        broken = url.replace("Signature=", "Signature=0")
        status, body = fetch(broken, method, b"" if method == "POST" else None)
        assert status in (401, 403) and want not in body, (method, status, body)
expired = ec2.generate_presigned_url("describe_key_pairs", HttpMethod="GET", ExpiresIn=1)
time.sleep(2)
status, body = fetch(expired, "GET")
assert status == 400 and "RequestExpired" in body, (status, body)


def run(command, **kwargs):
    return subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True, **kwargs).stdout.strip()


# Keys as ssh-keygen makes and exports them, with the fingerprints that the User
# Guide's commands print.
directory = tempfile.mkdtemp()


def keygen(kind, bits=""):
    path = f"{directory}/{kind}{bits}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path] + (["-b", str(bits)] if bits else []), check=True)
    with open(path + ".pub", "rb") as public:
        return path, public.read()


def take(name, material):
    return ec2.import_key_pair(KeyName=name, PublicKeyMaterial=material)["KeyFingerprint"]


def listed(**kwargs):
    return sorted(p["KeyName"] for p in ec2.describe_key_pairs(**kwargs)["KeyPairs"])


for bits in [1024, 2048, 3072, 4096]:
    path, public = keygen("rsa", bits)
    want = run(f"ssh-keygen -ef '{path}' -m PEM | openssl rsa -RSAPublicKey_in -pubout -outform DER 2>/dev/null | openssl md5 -c").split("= ")[-1]
    assert take(f"rsa{bits}", public) == want, bits
    push["SSHPublicKey"] = public.decode()
    assert code(connect.send_ssh_public_key, **push) == ("InvalidArgsException" if bits == 1024 else ""), bits
path, public = keygen("ed25519")
assert take("ed", public).rstrip("=") == run(f"ssh-keygen -lf '{path}'").split()[1].removeprefix("SHA256:")
rsa = f"{directory}/rsa2048"
same = ec2.describe_key_pairs(KeyNames=["rsa2048"], IncludePublicKey=True)["KeyPairs"][0]
with open(rsa + ".pub") as public:
    assert same["PublicKey"].split() == public.read().split()[:2] + ["rsa2048"], same
assert take("ssh2", run(f"ssh-keygen -ef '{rsa}' -m RFC4716").encode()) == same["KeyFingerprint"]
der = subprocess.run(["sh", "-c", f"ssh-keygen -ef '{rsa}' -m PEM | openssl rsa -RSAPublicKey_in -outform DER 2>/dev/null"], check=True, capture_output=True).stdout
assert take("der", base64.b64encode(der)) == same["KeyFingerprint"]
for name, material in {
    "odd length": keygen("rsa", 1536)[1], "pem": run(f"ssh-keygen -ef '{rsa}' -m PKCS8").encode(), "raw der": der,
    "ecdsa": keygen("ecdsa", 256)[1], "base64": base64.b64encode(keygen("rsa", 2049)[1]),
}.items():
    assert code(ec2.import_key_pair, KeyName=name, PublicKeyMaterial=material) == "InvalidKey.Format", name
made = ec2.create_key_pair(KeyName="made")
want = run("openssl pkcs8 -inform PEM -outform DER -topk8 -nocrypt | openssl sha1 -c", input=made["KeyMaterial"]).split("= ")[-1]
assert made["KeyFingerprint"] == want, made

# Filters, waiters, pages, and what the resource interface makes of it.
for filters, want in [
    ([("key-name", ["rsa?0*"])], ["rsa1024", "rsa2048", "rsa3072", "rsa4096"]),
    ([("key-name", ["made", "ed"])], ["ed", "made"]),
    ([("key-name", ["*"]), ("key-pair-id", [made["KeyPairId"]])], ["made"]),
    ([("fingerprint", [made["KeyFingerprint"]])], ["made"]),
    ([("tag-key", ["team"])], ["c"]),
    ([("key-name", ["none"])], []),
]:
    got = listed(Filters=[{"Name": n, "Values": v} for n, v in filters])
    assert got == want, (filters, got)
ec2.get_waiter("key_pair_exists").wait(KeyNames=["made"])
ec2.delete_key_pair(KeyPairId=made["KeyPairId"])
assert code(ec2.describe_key_pairs, KeyPairIds=[made["KeyPairId"]]) == "InvalidKeyPair.NotFound"
launched = [i["InstanceId"] for _ in range(6) for i in ec2.run_instances(
    ImageId="ami-12345678", MinCount=1, MaxCount=1, KeyName="ed", UserData="#!/bin/sh")["Instances"]]
ec2.get_waiter("instance_status_ok").wait(InstanceIds=launched, WaiterConfig={"Delay": 1, "MaxAttempts": 5})
pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
assert [len(p["Reservations"]) for p in pages] == [5, 2], pages
assert code(ec2.describe_instances, InstanceIds=launched, MaxResults=5) == "InvalidParameterCombination"
resource = boto3.resource("ec2", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
instance = resource.Instance(launched[0])
assert instance.key_pair.key_fingerprint == ec2.describe_key_pairs(KeyNames=["ed"])["KeyPairs"][0]["KeyFingerprint"]
instance.terminate()
instance.wait_until_terminated(WaiterConfig={"Delay": 1, "MaxAttempts": 5})
assert [k.name for k in resource.key_pairs.filter(KeyNames=["ed"])] == ["ed"]

# What there is not says so.
assert code(ec2.describe_vpcs) == "InvalidAction"
for service, call in {"s3": "list_buckets", "iam": "list_users", "dynamodb": "list_tables", "sqs": "list_queues"}.items():
    assert code(getattr(client(service), call)) == "ServiceNotEmulated", service
print("done")
