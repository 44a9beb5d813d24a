"""What containers can ask the agent for: task metadata, version 4, and the credentials of their task's role.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""
