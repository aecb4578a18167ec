"""Listens to an event stream with nothing but Python's standard library, reconnects by itself, prints each event as JSON."""
import json
import os
import sys
import time
import urllib.request


def lines_of(response):
    # Universal newlines would also end lines at U+2028; the format ends them at CR, LF and CRLF, and here always at LF.
    for line in response:
        yield line.decode('utf-8').rstrip('\n')


def listen(url):
    last_id, retry, parent = '', 3.0, os.getppid()
    # A test that was killed could not stop it.
    while os.getppid() == parent:
        headers = {'Accept': 'text/event-stream', **({'Last-Event-ID': last_id} if last_id else {})}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
                event, data = '', []
                for line in lines_of(response):
                    if line == '':
                        if data:
                            print(json.dumps({'event': event or 'message', 'id': last_id, 'data': '\n'.join(data)}), flush=True)
                        event, data = '', []
                        continue
                    field, _, value = line.partition(':')
                    value = value[1:] if value.startswith(' ') else value
                    if field == 'event':
                        event = value
                    elif field == 'data':
                        data.append(value)
                    elif field == 'id':
                        last_id = value
                    elif field == 'retry':
                        retry = int(value) / 1000
        except OSError:
            pass
        except Exception as error:  # http.client.IncompleteRead is none of OSError's
            if type(error).__name__ != 'IncompleteRead':
                raise
        time.sleep(retry)


listen(sys.argv[1])
