#!/bin/sh
# Logs in with the aws command through an EC2 Instance Connect Endpoint. sshd, on the
# instance, asks eic-authkeys for keys.
set -eu
export AWS_PAGER='' AWS_MAX_ATTEMPTS=1
instance=i-0123456789abcdef0
cd "$(mktemp -d)"
eic-emulator serve --write-config /etc/emulator.toml --ready-file /run/ready.sh >emulator.log 2>&1 &
until [ -s /run/ready.sh ]; do sleep 0.1; done
# shellcheck source=/dev/null
. /run/ready.sh
aws --version

# The instance: sshd at port 22 of its private address, which is 127.0.0.1.
useradd --create-home --password '*' --shell /bin/sh alice
ssh-keygen -A >keys.log
mkdir -p /run/sshd ~/.ssh
printf '%s\n' '#!/bin/sh' 'exec eic-authkeys --config /etc/emulator.toml "$@"' >/usr/bin/keys
chmod 755 /usr/bin/keys
/usr/sbin/sshd -E /run/sshd.log -o 'AuthorizedKeysCommand=/usr/bin/keys %u %f' -o AuthorizedKeysCommandUser=nobody -o UsePAM=no
echo 'StrictHostKeyChecking accept-new' >~/.ssh/config

# The client trusts the emulator's root, and takes the emulator for its proxy.
curl -s "$AWS_ENDPOINT_URL/_emu/roots.pem" > /usr/local/share/ca-certificates/eic-emulator.crt && update-ca-certificates >certificates.log 2>&1
export HTTPS_PROXY="$AWS_ENDPOINT_URL"
subnet=$(aws ec2 describe-instances --instance-ids $instance --query 'Reservations[0].Instances[0].SubnetId' --output text)
aws ec2 create-instance-connect-endpoint --subnet-id "$subnet" >endpoint.json

# It makes a key, pushes it, and runs ssh with open-tunnel as ProxyCommand.
# shellcheck disable=SC2016 # for the instance's shell
out=$(echo 'echo "it is $(id -un) from $SSH_CONNECTION"' | aws ec2-instance-connect ssh --instance-id i-0123456789abcdef0 --os-user alice --connection-type eice 2>ssh.log) || { cat ssh.log /run/sshd.log emulator.log; exit 1; }
echo "$out" | grep '^it is alice from 127.0.0.1 ' || { echo "$out"; cat ssh.log; exit 1; }

# A port of this machine that leads through the tunnel.
ssh-keygen -q -t ed25519 -N '' -f key
aws ec2-instance-connect open-tunnel --instance-id i-0123456789abcdef0 --local-port 8888 >tunnel.log 2>&1 &
tunnel=$!
until [ -n "$(ss -Hltn "sport = :8888")" ]; do kill -0 $tunnel || { cat tunnel.log; exit 1; }; sleep 0.1; done
aws ec2-instance-connect send-ssh-public-key --instance-id $instance --instance-os-user alice --ssh-public-key file://key.pub >pushed.json
ssh -i key -p 8888 alice@127.0.0.1 'echo "it is $(id -un) by a local port"' || { cat tunnel.log /run/sshd.log; exit 1; }
kill $tunnel

# A tunnel that nobody may open.
if aws ec2-instance-connect open-tunnel --instance-id i-00000009 </dev/null >refused.log 2>&1; then
	echo "a tunnel to an instance that does not exist was opened"
	exit 1
fi
grep InvalidInstanceID.NotFound refused.log || { cat refused.log; exit 1; }
curl -fs "$AWS_ENDPOINT_URL/_emu/requests?operation=openTunnel" | grep '"status": 101' | sort | uniq -c
echo "done"
