"""Small servers and a small client that no package offers: a tarpit, a telnet greeting, a connect probe."""
import asyncio
import json
import sys


def serve(port, handler):
    async def main():
        server = await asyncio.start_server(handler, None, int(port), backlog=1024)
        await server.serve_forever()
    asyncio.run(main())


def tarpit(port):
    """Accept every connection and never answer."""
    async def hold(reader, writer):
        await asyncio.sleep(60)
        writer.close()
    serve(port, hold)


def telnet(port, name):
    """Telnet's opening negotiation (will echo, will suppress-go-ahead, do terminal-type), a prompt, never a shell."""
    async def talk(reader, writer):
        try:
            writer.write(b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x18" + f"\r\nDebian GNU/Linux 7 {name}\r\n\r\n{name} login: ".encode())
            await writer.drain()
            await asyncio.wait_for(reader.readline(), 60)
        except (OSError, asyncio.TimeoutError):
            pass
        writer.close()
    serve(port, talk)


def canned(port, file):
    """Send a greeting to each connection, and one answer to whatever it sends."""
    with open(file) as f:
        texts = json.load(f)
    serve(port, canned_talk(texts["greeting"], texts["answer"]))


def canned_talk(greeting, answer):
    """Each character of the texts is one byte."""
    async def talk(reader, writer):
        try:
            writer.write(greeting.encode("latin-1"))
            await writer.drain()
            if await asyncio.wait_for(reader.read(4096), 60):
                writer.write(answer.encode("latin-1"))
                await writer.drain()
        except (OSError, asyncio.TimeoutError):
            pass
        writer.close()
    return talk


def probe(source):
    """Read [[address, port], ...] and print those that accept a TCP connection; what is silent is asked twice."""
    async def open_ends(ends):
        at_once = asyncio.Semaphore(24)

        async def ask(address, port):
            async with at_once:
                for _ in range(2):
                    try:
                        local = (source, 0) if (":" in source) == (":" in address) else None
                        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port, local_addr=local), 1.5)
                    except ConnectionRefusedError:
                        return False
                    except (OSError, asyncio.TimeoutError):
                        continue
                    writer.close()
                    return True
            return False
        answers = await asyncio.gather(*[ask(*end) for end in ends])
        return [end for end, answer in zip(ends, answers) if answer]
    print(json.dumps(asyncio.run(open_ends(json.load(sys.stdin)))))
