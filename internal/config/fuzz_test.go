package config

import "testing"

// FuzzProperties feeds rubbish to our own loader: an error or settings, no panic.
// YAML goes through a library's parser first: TestYAML has its odd shapes.
func FuzzProperties(f *testing.F) {
	for _, s := range []string{"a=1\\\n b", "k\\u0041=\\t", "! x\n:=:", "log.dirs /a,/b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if set, err := ParseProperties("f", text); err == nil {
			Check(set)
		}
	})
}
