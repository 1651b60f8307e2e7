package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// vlan is the tag of the exam's subport.
const vlan = 100

// subport lets a server answer at a subport of its NIC, and gives back what ends it. The kernel need not know of VLANs for that: the frames
// are read and written as they are.
func subport(ctx context.Context, testbed, server, mac string, sub wirePort) (stop func(), err error) {
	nic, err := nicOf(ctx, testbed, server, mac)
	if err != nil {
		return nil, err
	}
	if len(sub.Fixed) == 0 || !sub.Fixed[0].Addr.Is4() {
		return nil, fmt.Errorf("the subport has no IPv4 address: %v", sub.Fixed)
	}
	return background(ctx, testbed, server, "-subport", strings.Join([]string{nic, sub.MAC, sub.Fixed[0].Addr.String()}, ","))
}

// answerTagged answers ARP, and refuses connections, for one address and MAC at frames with the tag, until its input ends.
func answerTagged(as string) error {
	f := strings.Split(as, ",")
	if len(f) != 3 {
		return fmt.Errorf("%q is not nic,mac,address", as)
	}
	nic, err := net.InterfaceByName(f[0])
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(f[1])
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(f[2])
	if err != nil {
		return err
	}
	const every = 0x0300 // ETH_P_ALL in network order: packet(7)
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, every)
	if err != nil {
		return err
	}
	const auxdata = 8 // PACKET_AUXDATA: the kernel takes a tag off the frame and gives it beside
	if err := errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_PACKET, auxdata, 1), syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: every, Ifindex: nic.Index})); err != nil {
		return err
	}
	go func() {
		frame, oob := make([]byte, 2048), make([]byte, 256)
		for {
			n, k, _, _, err := syscall.Recvmsg(fd, frame, oob, 0)
			if err != nil {
				return
			}
			if out := answerTo(frame[:n], tagOf(oob[:k]), mac, addr); out != nil {
				_, _ = syscall.Write(fd, out)
			}
		}
	}()
	fmt.Println("ready")
	_, err = os.Stdin.Read(make([]byte, 1))
	_ = err // the end of the input is the end of us
	return nil
}

// tagOf reads the tag from what the kernel says beside a frame: struct tpacket_auxdata of linux/if_packet.h.
func tagOf(oob []byte) uint16 {
	ms, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range ms {
		const valid = 1 << 4 // TP_STATUS_VLAN_VALID
		if m.Header.Level == syscall.SOL_PACKET && len(m.Data) >= 20 && binary.NativeEndian.Uint32(m.Data)&valid != 0 {
			return binary.NativeEndian.Uint16(m.Data[16:]) & 0xfff
		}
	}
	return 0
}

// answerTo is the frame that answers another: an ARP reply (RFC 826), or a reset to who asks for a connection (RFC 9293, 3.10.7.1).
func answerTo(frame []byte, tag uint16, mac net.HardwareAddr, addr netip.Addr) []byte {
	if len(frame) < 14 || tag != vlan {
		return nil
	}
	four := addr.As4()
	out := append(append(bytes.Clone(frame[6:12]), mac...), 0x81, 0, 0, vlan)
	out = append(out, frame[12:14]...)
	switch p := frame[14:]; binary.BigEndian.Uint16(frame[12:]) {
	case 0x0806:
		if len(p) < 28 || p[7] != 1 || [4]byte(p[24:28]) != four {
			return nil
		}
		out = append(append(out, p[:6]...), 0, 2)
		out = append(append(out, mac...), four[:]...)
		return append(out, p[8:18]...)
	case 0x0800:
		if len(p) < 40 || p[0] != 0x45 || p[9] != syscall.IPPROTO_TCP || [4]byte(p[16:20]) != four || p[33]&0x12 != 0x02 {
			return nil
		}
		return append(out, reset(p[:20], p[20:])...)
	}
	return nil
}

// reset refuses the connection that a SYN asks for.
func reset(ip, syn []byte) []byte {
	r := make([]byte, 40)
	r[0], r[3], r[8], r[9] = 0x45, 40, 64, syscall.IPPROTO_TCP
	copy(r[12:16], ip[16:20])
	copy(r[16:20], ip[12:16])
	sum := checksum(r[:20])
	r[10], r[11] = byte(sum>>8), byte(sum)
	copy(r[20:22], syn[2:4])
	copy(r[22:24], syn[0:2])
	binary.BigEndian.PutUint32(r[28:], binary.BigEndian.Uint32(syn[4:])+1)
	r[32], r[33] = 5<<4, 0x14 // RST, ACK
	pseudo := append(append(bytes.Clone(r[12:20]), 0, syscall.IPPROTO_TCP, 0, 20), r[20:]...)
	sum = checksum(pseudo)
	r[36], r[37] = byte(sum>>8), byte(sum)
	return r
}
