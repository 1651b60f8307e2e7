package main
import ("testing";"demarc/internal/asset";"demarc/internal/reach")
func BenchmarkReach(b *testing.B){ s:=cloudOf(100000); x:=asset.NewIndex(s); b.ResetTimer(); for b.Loop(){ for _,v:=range views { reach.Compute(x,v) } } }
func BenchmarkOne(b *testing.B){ s:=cloudOf(100000); x:=asset.NewIndex(s); var sets []*reach.Set; for _,v:=range views { sets=append(sets,reach.Compute(x,v)) }; b.ResetTimer(); for b.Loop(){ oneRule(x,sets) } }
