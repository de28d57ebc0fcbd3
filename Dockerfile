# docker build -t tunesmith . && docker run -p 7860:7860 -v tunesmith:/home/user/data -e TUNESMITH_PASSWORD=… tunesmith
#
# torch comes from pip's default index, with CUDA: add `--gpus all` to use it. For a smaller image without CUDA name an
# index of CPU builds (--build-arg TORCH_INDEX=…); to stand on a CUDA image name one that has Python 3.11 to 3.13 with
# pip (--build-arg BASE=…).
ARG BASE=python:3.12-slim
FROM ${BASE}

# Some bases have a user 1000 already.
RUN (getent passwd 1000 || useradd --uid 1000 user) \
 && mkdir -p /home/user/app /home/user/data \
 && chown -R 1000:1000 /home/user
USER 1000
WORKDIR /home/user/app
# The last one: a base may keep its own Python from being installed into.
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TUNESMITH_HOME=/home/user/data \
    TUNESMITH_CACHE=/home/user/data/cache \
    HF_HOME=/home/user/data/hub \
    PIP_NO_CACHE_DIR=1 \
    PIP_BREAK_SYSTEM_PACKAGES=1

COPY --chown=1000:1000 requirements.txt constraints.txt ./
ARG TORCH_INDEX=""
RUN if [ -n "$TORCH_INDEX" ]; then pip install --user --index-url "$TORCH_INDEX" -c constraints.txt torch; fi \
 && pip install --user -r requirements.txt -c constraints.txt
COPY --chown=1000:1000 . .

# A volume that is mounted at /home/user/data takes over this folder's owner.
EXPOSE 7860
CMD ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
