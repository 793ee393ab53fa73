package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccountStage(t *testing.T) {
	t.Parallel()
	etc, vendor := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(etc, "sshd"): "# account required pam_time.so\nauth required pam_access.so\naccount  required     pam_nologin.so\n" +
			"@include common-account\naccount substack password-auth\n-account [success=1 default=ignore] /lib/security/pam_access.so \\\n accessfile=/x noaudit # not all\naccount required pam_nologin.so\naccount include sshd\n",
		filepath.Join(etc, "common-account"):   "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so \n",
		filepath.Join(vendor, "password-auth"): "account required pam_time.so\n",
		filepath.Join(vendor, "sshd"):          "account required pam_listfile.so\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list := accountStage([]string{etc, vendor}, "sshd", maxIncludes)
	got := ""
	for _, line := range list {
		_, number, _ := strings.Cut(line.place, " line ")
		got += fmt.Sprint(number, line.module, line.arguments, " ")
	}
	if want := "3pam_nologin.so[] 6pam_access.so[accessfile=/x noaudit] 8pam_nologin.so[] "; got != want {
		t.Errorf("without what is included: %s, want %s", got, want)
	}
	if list = accountStage([]string{etc, vendor}, "sshd", maxIncludes-1); len(list) < 4 || list[1].module != "pam_unix.so" || list[2].module != "pam_time.so" || list[2].place != filepath.Join(vendor, "password-auth")+" line 1" {
		t.Errorf("with it: %+v", list)
	}
}
