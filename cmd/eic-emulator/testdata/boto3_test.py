"""What boto3 sees of eic-emulator. The environment names the emulator; an
assertion that fails ends the script."""

import os
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
expired = ec2.generate_presigned_url("describe_key_pairs", HttpMethod="GET", ExpiresIn=0)
status, body = fetch(expired, "GET")
assert status == 200 or "RequestExpired" in body, body
print("done")
