//go:build browser && captures

package browser_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chromedp/chromedp"
)

var (
	captures = flag.String("captures", "", "take pictures, into this `folder`")
	lasts    = flag.Duration("for", 0, "how long there is load before pictures are taken")
)

// largest is what a picture may take in the repository.
const largest = 300 << 10

// TestCaptures takes the pictures that the documentation shows, of what a browser and a
// terminal really show.
func TestCaptures(t *testing.T) {
	if *captures == "" {
		t.Fatal("-captures says into which folder")
	}
	s := start(t)
	select {
	case <-time.After(*lasts):
	case <-t.Context().Done():
	}
	b := open(t, 1200, 900)
	b.do(chromedp.Navigate(s.page(0)))
	b.showsRates()
	b.explain(shown)
	keep(t, "statusz.png", smaller(t, get(b, chromedp.FullScreenshot(100))))
	keep(t, "status.svg", []byte(terminal(s.inTerminal(t, "sluice status --admin "+s.Nodes[0].AdminAddress(), "\n"+s.Nodes[2].Name+" "))))
}

func keep(t *testing.T, name string, picture []byte) {
	t.Helper()
	if len(picture) > largest {
		t.Errorf("%s has %d bytes, must have at most %d", name, len(picture), largest)
	}
	if err := os.WriteFile(filepath.Join(*captures, name), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// smaller writes a picture with 256 colors. Of those that are nearly alike, as the shades at the edges
// of letters, the one that there is most of stands for all, so that what is small keeps its color.
func smaller(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	all := full.Bounds()
	often := make(map[color.Color]int)
	for y := all.Min.Y; y < all.Max.Y; y++ {
		for x := all.Min.X; x < all.Max.X; x++ {
			often[full.At(x, y)]++
		}
	}
	alike := make(map[[3]uint32]int) // how much there is of each kind
	var colors []color.Color         // one of each
	for _, c := range slices.SortedFunc(maps.Keys(often), func(a, b color.Color) int { return cmp.Compare(often[b], often[a]) }) {
		kind := kindOf(c)
		if alike[kind] == 0 {
			colors = append(colors, c)
		}
		alike[kind] += often[c]
	}
	slices.SortStableFunc(colors, func(a, b color.Color) int { return cmp.Compare(alike[kindOf(b)], alike[kindOf(a)]) })
	few := image.NewPaletted(all, colors[:min(256, len(colors))])
	draw.Draw(few, all, full, all.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// kindOf is the same for colors that are nearly alike.
func kindOf(c color.Color) [3]uint32 {
	r, g, b, _ := c.RGBA()
	return [3]uint32{r >> 12, g >> 12, b >> 12}
}

// inTerminal runs a command in a terminal of tmux, and returns what stands there when last does.
func (s *stage) inTerminal(t *testing.T, command, last string) string {
	t.Helper()
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-S", filepath.Join(s.dir, "tmux"), "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(s.binary)+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	// What follows the command keeps the terminal open.
	tmux("new-session", "-d", "-x", "132", "-y", "20", fmt.Sprintf("echo '$ %[1]s'; %[1]s; exec cat", command))
	t.Cleanup(func() { tmux("kill-server") })
	for end := time.Now().Add(20 * time.Second); ; {
		screen := tmux("capture-pane", "-e", "-p")
		if strings.Contains(screen, last) {
			return screen
		}
		if time.Now().After(end) {
			t.Fatalf("the terminal shows no %q:\n%s", last, screen)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// escape is what tmux writes between characters to tell how they look.
var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// terminal draws a screen. Sluice writes to terminals without colors, so none are drawn.
func terminal(screen string) string {
	const (
		column, line = 7.8, 19.0 // of a character, at 13 pixels
		margin, bar  = 16.0, 30.0
	)
	lines := strings.Split(strings.Trim(escape.ReplaceAllString(screen, ""), "\n"), "\n")
	widest := 0
	for _, l := range lines {
		widest = max(widest, utf8.RuneCountInString(l))
	}
	width, height := 2*margin+column*float64(widest), bar+2*margin+line*float64(len(lines))-6
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" rx="8" fill="#16191d"/>`+"\n", width, height)
	for i, color := range []string{"#e0605a", "#dba53c", "#5aa95f"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="16" r="5" fill="%s"/>`+"\n", 20+18*i, color)
	}
	b.WriteString(`<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13" fill="#dfe4e8">` + "\n")
	for i, l := range lines {
		if l = strings.TrimRight(l, " "); l != "" {
			fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" textLength="%.1f">%s</text>`+"\n", margin, bar+margin+line*float64(i),
				column*float64(utf8.RuneCountInString(l)), strings.ReplaceAll(html.EscapeString(l), " ", "\u00a0")) // others would be one
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}
