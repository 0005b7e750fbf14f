"""`python -m ganhpc.node`: the name by which scripts of submitted jobs call the node agent (ganhpc/launch/node_agent.py)."""

from ganhpc.launch.node_agent import main

if __name__ == "__main__":
    main()
