package metadata

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	// instanceRole is the role that every instance has for features of AWS.
	instanceRole = "aws:ec2-instance"

	credentialsRenewal  = time.Hour
	credentialsLifetime = 6 * time.Hour
	credentialsPrefix   = "ASIA" // of temporary ones
)

// Temporary are the credentials of an instance's role. They are made of the
// instance's secret and an hour, so nothing has to be remembered.
type temporary struct {
	keyID, secret, token string
	arn                  string
	made                 time.Time
}

// credentialsOf returns those that a role of an instance has at a time.
func credentialsOf(m *world.Machine, role string, now time.Time) temporary {
	made := now.UTC().Truncate(credentialsRenewal)
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, m.TokenKey[:])
		h.Write([]byte(what + "\n" + role + "\n" + made.Format(time.RFC3339)))
		return h.Sum(nil)
	}
	return temporary{
		keyID:  credentialsPrefix + base32.StdEncoding.EncodeToString(derive("key"))[:16],
		secret: base64.StdEncoding.EncodeToString(derive("secret"))[:40],
		token:  base64.StdEncoding.EncodeToString(append(derive("token"), derive("more")...)),
		arn:    "arn:" + m.Partition + ":sts::" + m.Owner("") + ":assumed-role/" + role + "/" + m.ID,
		made:   made,
	}
}

// text is what the metadata service has of them.
func (t temporary) text() string {
	return text(struct {
		Code, LastUpdated, Type, AccessKeyId, SecretAccessKey, Token, Expiration string
	}{"Success", timestamp(t.made), "AWS-HMAC", t.keyID, t.secret, t.token, timestamp(t.made.Add(credentialsLifetime))})
}

// Credential returns the credential that an access key of an instance's role is, as
// it is or was given out in the last hours.
func (s *Service) Credential(keyID string, now time.Time) (api.Credential, bool) {
	if !strings.HasPrefix(keyID, credentialsPrefix) {
		return api.Credential{}, false
	}
	s.o.World.Lock()
	defer s.o.World.Unlock()
	for _, m := range s.o.World.Machines() {
		for _, role := range []string{m.Role, instanceRole} {
			for age := time.Duration(0); role != "" && age <= credentialsLifetime; age += credentialsRenewal {
				if t := credentialsOf(m, role, now.Add(-age)); t.keyID == keyID {
					return api.Credential{KeyID: t.keyID, Secret: t.secret, Token: t.token, ARN: t.arn, Expires: t.made.Add(credentialsLifetime)}, true
				}
			}
		}
	}
	return api.Credential{}, false
}
