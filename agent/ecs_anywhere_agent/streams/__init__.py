"""What operators read of a task's output, and the commands that they run in it, on demand and over MQTT.

    session.py      one stream as a state machine: what the operator says and the source gives, and what is to be done
    open_streams.py the streams of this machine, each on threads of its own
    log_source.py, docker_exec.py, process_exec.py    where what is streamed comes from

Nothing of it is stored, and the agent's core knows nothing of it: a stream ends with the agent, or with its connection.
"""
