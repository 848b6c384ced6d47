package limiter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// banned are the imports that the engine must do without, each with its reason.
var banned = []struct{ prefix, why string }{
	{"net", "the engine knows no network"},
	{"log", "what happens is in the results; telling it is the caller's"},
	{"os", "the engine reads no file and no environment"},
	{"context", "nothing in here waits"},
	{"google.golang.org/", "the engine knows no wire format"},
	{"math/rand", "the same calls have the same answers: randomness is an argument"},
	{"crypto/rand", "the same calls have the same answers: randomness is an argument"},
	{"github.com/overten/sluice/", "the engine imports nothing of ours"},
}

// bannedNames are what may not be used of a package that is allowed.
var bannedNames = map[string]string{
	"time.Now": "now is an argument", "time.Since": "now is an argument", "time.Until": "now is an argument",
	"time.Sleep": "nothing in here waits", "time.After": "nothing in here waits", "time.AfterFunc": "nothing in here waits",
	"time.NewTimer": "nothing in here waits", "time.NewTicker": "nothing in here waits", "time.Tick": "nothing in here waits",
}

func TestEngineIsPure(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		checked++
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range tree.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			for _, b := range banned {
				if path == b.prefix || strings.HasPrefix(path, strings.TrimSuffix(b.prefix, "/")+"/") {
					t.Errorf("%s imports %s: %s", file.Name(), path, b.why)
				}
			}
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && bannedNames[x.Name+"."+n.Sel.Name] != "" {
					t.Errorf("%s uses %s.%s: %s", file.Name(), x.Name, n.Sel.Name, bannedNames[x.Name+"."+n.Sel.Name])
				}
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: the engine has none", file.Name())
			}
			return true
		})
	}
	if checked < 10 {
		t.Errorf("only %d files were checked", checked)
	}
}
