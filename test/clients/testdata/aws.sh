#!/bin/sh
# Calls every service with this system's aws command. Versions before 2.13 do not know
# AWS_ENDPOINT_URL, so that the endpoint is an argument.
set -eu
export AWS_PAGER='' AWS_MAX_ATTEMPTS=1
instance=i-0123456789abcdef0
cd "$(mktemp -d)"
ssh-keygen -q -t ed25519 -N '' -C '' -f key
ssh-keygen -q -t rsa -N '' -C '' -f rsa # of 3072 bits
eic-emulator serve --ready-file /run/ready.sh >emulator.log 2>&1 &
until [ -s /run/ready.sh ]; do sleep 0.1; done
# shellcheck source=/dev/null
. /run/ready.sh

call() { aws --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }
# is WANT COMMAND...: the output of the command is that, with one space between words.
is() {
	want=$1
	shift
	got=$(call "$@" | tr -s '\t\n' '  ')
	[ "${got% }" = "$want" ] || { echo "aws $*: $got, want $want"; exit 1; }
}
# fails NAME COMMAND...: the command ends with that exception.
fails() {
	name=$1
	shift
	if out=$(call "$@" 2>&1) || ! expr "$out" : ".*($name)" >/dev/null; then
		echo "aws $*: $out, want $name"
		exit 1
	fi
}
# imds PATH: what the metadata service has.
imds() {
	token=$(curl -fsX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token")
	curl -fs -H "X-aws-ec2-metadata-token: $token" "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/$1"
}

aws --version
is arn:aws:iam::123456789012:user/test sts get-caller-identity --query Arn

for key in key rsa; do
	is True ec2-instance-connect send-ssh-public-key --instance-id $instance --instance-os-user $key --ssh-public-key "file://$key.pub" --query Success
	imds managed-ssh-keys/active-keys/$key/ | grep -qF "$(cut -d' ' -f1,2 $key.pub)"
done
fails EC2InstanceNotFoundException ec2-instance-connect send-ssh-public-key --instance-id i-00000009 --instance-os-user a --ssh-public-key file://key.pub
fails InvalidArgsException ec2-instance-connect send-ssh-public-key --instance-id $instance --instance-os-user a --ssh-public-key 'no key, whatever else it may be but long enough to be taken for one by aws itself'
fails SerialConsoleAccessDisabledException ec2-instance-connect send-serial-console-ssh-public-key --instance-id $instance --ssh-public-key file://key.pub
is True ec2 enable-serial-console-access
is True ec2-instance-connect send-serial-console-ssh-public-key --instance-id $instance --ssh-public-key file://key.pub --query Success

is mine ec2 import-key-pair --key-name mine --public-key-material fileb://rsa.pub --tag-specifications 'ResourceType=key-pair,Tags=[{Key=a,Value=b}]' --query KeyName
fails InvalidKeyPair.Duplicate ec2 import-key-pair --key-name mine --public-key-material fileb://rsa.pub
call ec2 create-key-pair --key-name created --key-type ed25519 --query KeyMaterial >made
chmod 600 made
[ "$(ssh-keygen -l -f made | cut -d' ' -f2)" = "SHA256:$(call ec2 describe-key-pairs --key-names created --query 'KeyPairs[0].KeyFingerprint' | tr -d =)" ]
is 'created mine' ec2 describe-key-pairs --query 'sort(KeyPairs[].KeyName)'
is 'a b' ec2 describe-tags --filters Name=resource-type,Values=key-pair --query 'Tags[].[Key,Value]'
fails InvalidKeyPair.NotFound ec2 describe-key-pairs --key-names nobody

new=$(call ec2 run-instances --image-id ami-12345678 --key-name mine --query 'Instances[0].InstanceId')
call ec2 wait instance-running --instance-ids "$new"
is mine ec2 describe-instances --instance-ids "$new" --query 'Reservations[0].Instances[0].KeyName'
call ec2 stop-instances --instance-ids "$new" >stopped
call ec2 wait instance-stopped --instance-ids "$new"
fails EC2InstanceStateInvalidException ec2-instance-connect send-ssh-public-key --instance-id "$new" --instance-os-user a --ssh-public-key file://key.pub
call ec2 terminate-instances --instance-ids "$new" >terminated
call ec2 wait instance-terminated --instance-ids "$new"

is Succeeded lightsail import-key-pair --key-pair-name mine --public-key-base64 "$(cat rsa.pub)" --query operation.status
is mine lightsail get-key-pairs --query 'keyPairs[].name'
fails NotFoundException lightsail get-key-pair --key-pair-name nobody
is mine lightsail delete-key-pair --key-pair-name mine --query operation.resourceName
echo "done"
