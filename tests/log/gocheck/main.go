// Command gocheck reads a log that Assay wrote with Go's own implementation (golang.org/x/mod/sumdb) and says whether it
// agrees. Usage: gocheck FOLDER CLAIMS. FOLDER holds checkpoint and tile/ as they are served; CLAIMS is JSON:
// {"vkey": ..., "inclusion": [{"index", "size", "root", "proof"}], "consistency": [{"old", "size", "old_root", "root",
// "proof"}]}, hashes in base64. It prints a JSON object; exit code 1 means that it disagrees.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index, Size int64
	Root        tlog.Hash
	Proof       []tlog.Hash
}

type consistency struct {
	Old, Size int64
	OldRoot   tlog.Hash `json:"old_root"`
	Root      tlog.Hash
	Proof     []tlog.Hash
}

type claims struct {
	Vkey        string
	Inclusion   []inclusion
	Consistency []consistency
}

// folder serves tiles from static files. Go names them tile/8/0/..., C2SP tile/0/...; the rest is alike.
type folder string

func (f folder) Height() int { return 8 }

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil && tile.W < 256 {
			full := tile
			full.W = 256
			data, err = os.ReadFile(filepath.Join(string(f), "tile/"+strings.TrimPrefix(full.Path(), "tile/8/")))
			if err == nil {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	if err := check(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(dir, claimed string) error {
	var c claims
	data, err := os.ReadFile(claimed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	tree, err := openCheckpoint(dir, c.Vkey)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, folder(dir))
	if root, err := tlog.TreeHash(tree.N, hashes); err != nil || root != tree.Hash {
		return fmt.Errorf("tree hash: %v, %v", root, err)
	}
	entries, err := checkEntries(dir, tree, hashes)
	if err != nil {
		return err
	}
	for _, p := range c.Inclusion {
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, p.Index)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(p.Proof, p.Size, p.Root, p.Index, leaf[0]); err != nil {
			return fmt.Errorf("inclusion of %d in %d: %v", p.Index, p.Size, err)
		}
		own, err := tlog.ProveRecord(p.Size, p.Index, hashes)
		if err != nil || !same(own, p.Proof) {
			return fmt.Errorf("Go proves the inclusion of %d in %d otherwise: %v", p.Index, p.Size, err)
		}
	}
	for _, p := range c.Consistency {
		if err := tlog.CheckTree(p.Proof, p.Size, p.Root, p.Old, p.OldRoot); err != nil {
			return fmt.Errorf("consistency of %d with %d: %v", p.Size, p.Old, err)
		}
		own, err := tlog.ProveTree(p.Size, p.Old, hashes)
		if err != nil || !same(own, p.Proof) {
			return fmt.Errorf("Go proves the consistency of %d with %d otherwise: %v", p.Size, p.Old, err)
		}
	}
	return signAnother(entries)
}

func same(one, other []tlog.Hash) bool {
	return len(one) == len(other) && (len(one) == 0 || reflect.DeepEqual(one, other))
}

func openCheckpoint(dir, vkey string) (tree tlog.Tree, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return tree, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	n, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("not a checkpoint: %q", n.Text)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

// checkEntries compares every entry of every bundle with the leaf that the verified tiles have in its place.
func checkEntries(dir string, tree tlog.Tree, hashes tlog.HashReader) (count int64, err error) {
	for start := int64(0); start < tree.N; start += 256 {
		width := tree.N - start
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: -1, N: start / 256, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/data", "tile/entries", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return count, err
		}
		for ; len(data) > 0; count++ {
			length := int(binary.BigEndian.Uint16(data))
			leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, count)})
			if err != nil {
				return count, err
			}
			if tlog.RecordHash(data[2:2+length]) != leaf[0] {
				return count, fmt.Errorf("entry %d is not what the tree contains", count)
			}
			data = data[2+length:]
		}
	}
	if count != tree.N {
		return count, fmt.Errorf("%d entries, the checkpoint says %d", count, tree.N)
	}
	return count, nil
}

// signAnother prints a note that Go signed, for Assay to verify.
func signAnother(entries int64) error {
	skey, vkey, err := note.GenerateKey(rand.Reader, "gocheck.example/log")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("gocheck.example/log\n%d\n%s\n", entries, tlog.RecordHash(nil))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"entries": entries, "vkey": vkey, "note": string(signed)})
}
