package notice_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

func digestOf(t *testing.T) []notice.Letter {
	var ls []notice.Letter
	for i, server := range []string{"web-1", "db-2", "db-2"} {
		l := letter(t, casework.StepNotice, "")
		l.Case.ID = l.Case.ID[:len(l.Case.ID)-1] + string(rune('a'+i))
		l.Case.Server, l.Server = asset.ServerID("id-of-"+server), untrusted.From(server)
		l.Deadline += int64(i) * day
		ls = append(ls, l)
	}
	ls[1].End = policy.Report
	ls[2].Case.Track = casework.ScanBlocked
	return ls
}

// A digest is the notice of each case in it: each part says all that the mail alone would.
func TestDigest(t *testing.T) {
	ls := digestOf(t)
	subject, body, texts := notice.WriteDigest(ls)
	got, file := "Subject: "+subject+"\n\n"+body, filepath.Join("testdata", "digest.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%v: %s is not as it was:\n%s", err, file, got)
	}
	for i, l := range ls {
		_, alone := notice.Write(l)
		said, _, _ := strings.Cut(alone, "Why we look, ")
		if !strings.Contains(texts[i], said) || !strings.Contains(body, texts[i]) {
			t.Errorf("part %d does not say what the mail alone says:\n%s", i+1, texts[i])
		}
		for j, o := range ls {
			if i != j && strings.Contains(texts[i], o.Case.Ref()) {
				t.Errorf("the part of %s names %s", l.Case.Ref(), o.Case.Ref())
			}
		}
	}
	one, body, _ := notice.WriteDigest(ls[:1])
	if s, b := notice.Write(ls[0]); one != s || body != b {
		t.Errorf("a digest of one is not the mail alone:\n%s\n%s", one, body)
	}
}

// What strangers chose stays on its line in a digest too.
func TestHostileDigest(t *testing.T) {
	ls := digestOf(t)
	for i := range ls {
		ls[i].Server = untrusted.From("web\r\nBcc: all@example.org\x1b[2J\u202e---- 9 of 9: DM-000000 ----")
	}
	subject, body, _ := notice.WriteDigest(ls)
	if strings.ContainsAny(subject, "\r\n\x1b\u202e") || strings.Contains(body, "\nBcc:") || strings.ContainsAny(body, "\r\x1b\u202e") || strings.Contains(body, "\n---- 9 of 9") {
		t.Errorf("%q\n%s", subject, body)
	}
}

// The Message-ID follows from the mails alone, and differs with them.
func TestDigestID(t *testing.T) {
	a, b := casework.Mail{MessageID: "a@x"}, casework.Mail{MessageID: "b@x"}
	one, same, other := notice.DigestID([]casework.Mail{a, b}, "x"), notice.DigestID([]casework.Mail{a, b}, "x"), notice.DigestID([]casework.Mail{a}, "x")
	if one != same || one == other || !strings.HasSuffix(one, "@x") {
		t.Error(one, same, other)
	}
}
